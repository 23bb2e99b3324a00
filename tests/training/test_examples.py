"""Other data for a network: classes by name, all pictures of a folder, and what is left out."""

import csv
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dsconv import config as configuration
from dsconv import data, evaluate
from dsconv.data.arrays import array_source
from dsconv.data.picture import read_picture
from dsconv.errors import InputError
from dsconv.exporting import check
from dsconv.training.examples import (
    Examples,
    drawn_otherwise,
    match_classes,
    other_examples,
    own_examples,
    write_predictions,
)
from dsconv.training.run import check_workdir, write_config
from dsconv.training.setup import open_data
from tests.conftest import tiny_config


def write_digits(root, names, count):
    """Writes `count` pictures of each class 0, 1, … under other names, as `names` says."""
    digits = load_digits()
    for label, name in names.items():
        (root / name).mkdir(parents=True)
        for number in np.flatnonzero(digits.target == label)[:count]:
            pixels = np.uint8(np.round(digits.images[number] * 255 / 16))
            Image.fromarray(pixels).resize((16, 24), Image.Resampling.NEAREST).save(root / name / f'{number}.png')


def test_a_folder_is_scored_whole_by_the_names_of_its_classes(finished_run, tmp_path, caplog):
    write_digits(tmp_path / 'other', {3: '3', 0: '0', 7: 'seven'}, 6)
    line = [f'--workdir={finished_run}', f'--dataset=image_folder:{tmp_path / "other"}', '--predictions']
    output = tmp_path / 'output'
    with caplog.at_level(logging.INFO, 'dsconv'):
        evaluate.evaluate(evaluate.flags().parse_args([*line, f'--output={output}']))
    assert 'a fixed fifth' not in caplog.text
    assert 'left out 6 examples of classes that the network does not know: seven' in caplog.text
    report = json.loads((output / 'report.json').read_text())
    assert (report['split'], report['num_examples'], report['class_names']) == ('all', 12, list('0123456789'))
    assert [row['support'] for row in report['per_class'].values()] == [6, 0, 0, 6, 0, 0, 0, 0, 0, 0]
    rows = list(csv.DictReader((output / 'predictions.csv').open()))
    assert {row['path'] for row in rows} == {
        str(path) for name in '03' for path in (tmp_path / 'other' / name).iterdir()
    }
    assert all(row['truth'] == row['path'].split('/')[-2] for row in rows)
    assert np.mean([row['truth'] == row['class'] for row in rows]) == pytest.approx(report['accuracy'])
    assert all(float(row[row['class']]) == float(row['probability']) for row in rows)


def test_pictures_of_all_parts_of_a_folder_are_brought_to_size_as_those_of_the_run(finished_run, tmp_path):
    for part, count in (('train', 4), ('test', 1)):
        write_digits(tmp_path / 'other' / part, {3: '3', 0: '0'}, count)
    config, order = configuration.load_run(finished_run), np.random.default_rng(0).permutation(10)
    config.dataset.resize = 'crop'
    images = other_examples(config, f'image_folder:{tmp_path / "other"}', None).images
    for path, image in zip(images.paths[order], images.images(order), strict=True):
        np.testing.assert_array_equal(image, read_picture(path, 8, 1, 'crop'))


def test_of_a_folder_that_is_scored_whole_the_training_part_may_be_empty(finished_run, tmp_path):
    write_digits(tmp_path / 'other' / 'test', {3: '3', 0: '0'}, 2)
    (tmp_path / 'other' / 'train').mkdir()
    scored = other_examples(configuration.load_run(finished_run), f'image_folder:{tmp_path / "other"}', None)
    assert sorted(scored.labels.tolist()) == [0, 0, 3, 3]


def test_a_table_of_other_pictures_says_where_they_are(finished_run, tmp_path):
    write_digits(tmp_path / 'other', {3: '3', 0: '0'}, 1)
    paths = tmp_path.glob('other/*/*.png')
    rows = [f'{path.relative_to(tmp_path / "other")},{path.parent.name},test' for path in paths]
    (tmp_path / 'table.csv').write_text('\n'.join(['file,label,split', *rows]))
    table, config = f'image_table:{tmp_path / "table.csv"}', configuration.load_run(finished_run)
    assert sorted(other_examples(config, table, None, [f'dataset.root={tmp_path / "other"}']).labels) == [0, 3]
    with pytest.raises(InputError, match='--config.dataset.image_size=9: this command can set only dataset.data_dir'):
        other_examples(config, table, None, ['dataset.image_size=9'])


def test_the_same_images_in_another_order_are_divided_otherwise_which_is_told(tmp_path, monkeypatch, caplog):
    digits, config = load_digits(), tiny_config(dataset__validation_fraction=0.2)
    images, order = np.uint8(digits.images[..., None]), np.arange(len(digits.images))

    def opened(order):
        return array_source({'train': (images[order], digits.target[order])}, tuple('0123456789'), config.dataset)

    (_, _, run), (_, _, other) = open_data(config, opened(order)), open_data(config, opened(order[::-1]))
    assert run.dataset.fingerprint == other.dataset.fingerprint
    own_examples(run, opened(order), 'validation')
    assert 'not those that the run held out' not in caplog.text
    own_examples(run, opened(order[::-1]), None)
    assert 'the validation images of digits are not those that the run held out' in caplog.text
    write_config(tmp_path, run)
    (tmp_path / 'checkpoints' / '19').mkdir(parents=True)
    with pytest.raises(InputError, match='another run .*dataset.train_fingerprint: '):
        check_workdir(tmp_path, other)
    for source, part in ((opened(order), 'the validation split'), (opened(order[::-1]), 'the training images')):
        monkeypatch.setattr(check, 'open_source', lambda *_, source=source: source)
        assert check.find_pictures(run, tmp_path, None, 100, 0).origin == f'{part} of digits'


def test_the_test_part_of_a_folder_to_which_pictures_were_added_is_another(write_pictures):
    root = write_pictures()
    source, _, run = open_data(tiny_config(dataset__name=f'image_folder:{root}', batch_size=8))
    assert drawn_otherwise(run, source, 'test') is None
    Image.new('RGB', (8, 8)).save(root / 'cat' / 'later.png')
    later = data.open_source(run.dataset)
    assert 'the test images of image_folder' in drawn_otherwise(run, later, 'test')
    assert drawn_otherwise(run, later, 'train') is None
    listed = root.with_name('pictures.csv.gz')
    listed.write_bytes(source.table())
    assert drawn_otherwise(run, data.open_source(run.dataset, listed=listed), 'test') is None


def test_an_index_is_that_of_the_data_where_examples_are_left_out(tmp_path):
    split = SimpleNamespace(paths=None)
    scored = Examples('digits', 'test', split, np.array([1, 0]), indices=np.array([3, 7]))
    write_predictions(tmp_path, scored, ('a', 'b'), np.log([[0.2, 0.8], [0.6, 0.4]]))
    rows = csv.DictReader((tmp_path / 'predictions.csv').open())
    assert [(row['index'], row['truth']) for row in rows] == [('3', 'b'), ('7', 'a')]


def test_data_without_a_known_class_and_flags_of_the_own_data_are_refused(finished_run, tmp_path):
    write_digits(tmp_path / 'other', {3: 'three', 0: 'zero'}, 2)
    config = configuration.load_run(finished_run)
    with pytest.raises(InputError, match='has the classes three, zero, and the network 0, .* more: none in common'):
        other_examples(config, f'image_folder:{tmp_path / "other"}', None)
    for flag in ('--calibrate', '--robustness', f'--output={finished_run / "report"}'):
        with pytest.raises(InputError, match='cannot be used with --dataset|own report'):
            evaluate.evaluate(evaluate.flags().parse_args([f'--workdir={finished_run}', '--dataset=digits', flag]))


def test_classes_are_matched_in_any_form_of_their_names():
    known = ('Été', 'cat', 'A', 'a')
    assert match_classes(('E\u0301te\u0301', 'Cat', 'a', 'A', 'dog'), known).tolist() == [0, 1, 3, 2, -1]
    assert match_classes(('CAT', 'B'), ('B', 'b', 'cat')).tolist() == [2, 0]
    assert match_classes(('Cat', 'cat'), ('CAT', 'cat')).tolist() == [-1, 1]
    assert match_classes(('É',), ('é', 'É'.lower() + 'x')).tolist() == [0]


def test_of_other_data_with_splits_the_test_split_is_scored():
    config = tiny_config(dataset__image_size=8, dataset__channels=1)
    config.dataset.class_names = tuple('0123456789')
    scored = other_examples(config, 'digits', None)
    assert (scored.split, len(scored.labels)) == ('test', 360)
