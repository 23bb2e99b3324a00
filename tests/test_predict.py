"""Trains on a folder of pictures with `main`, then tests the report and the predictions of `predict`."""

import csv
import json
import unittest

import jax
import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

import dsconv
from dsconv import config as configuration
from dsconv import data, main, predict
from dsconv.data import picture, unlabelled
from dsconv.errors import InputError
from dsconv.reporting.predictions import PredictionsFile
from dsconv.training.calibration import read_temperature
from dsconv.training.network import restore_network
from dsconv.training.step import normalise
from tests.commands import run
from tests.conftest import TINY


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """(folder with train/ and val/, workdir of a run on it, the lines of the run's log, number of pictures decoded)."""
    directory = tmp_path_factory.mktemp('folder')
    root, workdir, generator = directory / 'pictures', directory / 'run', np.random.default_rng(0)
    for part, name, count in (('train', 'a cat', 13), ('train', 'a dog', 12), ('val', 'a cat', 4), ('val', 'a dog', 4)):
        (root / part / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (10, 8, 3), np.uint8)
            Image.fromarray(pixels).save(root / part / name / f'{number:02d}.png')
    (root / 'train' / 'a cat' / '05.png').write_bytes(b'broken')
    tiny = TINY | {'dataset.name': f'image_folder:{root}', 'dataset.image_size': 8, 'batch_size': 16, 'epochs': 1}
    tiny |= {'schedule.warmup_epochs': 0, 'model.depth': 0}
    decoded, fit = [], picture.fit
    with pytest.MonkeyPatch.context() as patch, unittest.TestCase().assertLogs('dsconv') as log:
        patch.setattr(picture, 'fit', lambda *given: decoded.append(given) or fit(*given))
        line = ['--config=configs/digits.py', f'--workdir={workdir}']
        assert run(main, [*line, *(f'--config.{key}={value}' for key, value in tiny.items())]) == 0
    return root, workdir, log.output, len(decoded)


def test_a_run_decodes_its_folder_once_and_is_reported_on_its_validation_split_without_a_test_one(trained):
    _, workdir, lines, decoded = trained
    assert decoded == 32
    for said in (
        '05.png',
        'read as train/ (24 pictures), val/ (8 pictures) of 2 classes',
        'has no test split: the report is of the validation split',
    ):
        assert sum(said in line for line in lines) == 1
    report = json.loads((workdir / 'report' / 'report.json').read_text())
    assert (report['split'], report['num_examples']) == ('validation', 8)
    assert configuration.load_run(workdir).eval.final_split == 'validation'


@pytest.fixture(scope='module')
def asked(trained):
    """(arguments of predict: a folder, a missing file, a pattern, a broken file; readable paths; probabilities)."""
    root, workdir, _, _ = trained
    good = [*sorted(root.glob('val/*/*.png')), *sorted(root.glob('train/a dog/0[1-9].png'))]
    config = configuration.load_run(workdir)
    network, variables, step = restore_network(workdir, config)
    images = np.stack([data.read_picture(path, 8, 3) for path in good])
    logits = network.apply(variables, normalise(images, config.dataset.mean, config.dataset.std))
    temperature = read_temperature(workdir, step)['temperature']
    given = [root / 'val', root / 'absent.png', root / 'train/a d*/0[1-9].png', root / 'train/a cat/05.png']
    return given, good, np.asarray(jax.nn.softmax(logits / temperature))


def test_a_table_has_a_row_for_each_picture_and_for_each_fault_in_the_order_asked_for(
    trained, asked, tmp_path, monkeypatch
):
    monkeypatch.setattr(unlabelled, 'BATCH_SIZE', 8)
    given, good, expected = asked
    file, threshold = tmp_path / 'new' / 'answers.csv', float(np.median(expected.max(axis=1)))
    line = [f'--workdir={trained[1]}', f'--output={file}', f'--threshold={threshold}', *map(str, given)]
    with pytest.raises(InputError, match='absent.png: there is no such file; .*05.png: is not a picture'):
        predict.predict(predict.flags().parse_args(line))
    rows = list(csv.DictReader(file.open()))
    assert list(rows[0]) == ['path', 'class', 'probability', 'error', 'a cat', 'a dog']
    assert [row['path'] for row in rows] == list(map(str, [*good[:8], given[1], *good[8:], given[3]]))
    assert [bool(row['error']) for row in rows] == [row['path'] in map(str, given) for row in rows]
    assert [row['class'] for row in rows if row['error']] == ['', '']
    for row, probabilities in zip([row for row in rows if not row['error']], expected, strict=True):
        assert [float(row['a cat']), float(row['a dog'])] == pytest.approx(probabilities, abs=2e-6)
        assert row['class'] == (('a cat', 'a dog')[probabilities.argmax()] if probabilities.max() >= threshold else '–')
    assert list(file.parent.iterdir()) == [file]


def test_a_table_of_json_lines(tmp_path):
    with PredictionsFile(tmp_path / 'x.jsonl', ['a', 'b']) as file:
        for name, threshold in (('1.png', 0.75), ('2.png', 0.76)):
            file.write([name], np.array([0.25, 0.75]), threshold)
        file.write_error(['3.png'], 'broken')
    probabilities = {'probability': 0.75, 'probabilities': {'a': 0.25, 'b': 0.75}}
    assert [json.loads(line) for line in (tmp_path / 'x.jsonl').open()] == [
        {'path': '1.png', 'class': 'b', **probabilities},
        {'path': '2.png', 'class': None, **probabilities},
        {'path': '3.png', 'error': 'broken'},
    ]


def test_names_of_any_text_keep_to_their_line_and_their_column(tmp_path, capsys):
    names, row = ('path', 'two\nlines\x1b[31m'), np.array([0.25, 0.75])
    for flags, line in (
        ([], 'a .png: two lines [31m (75.0 %), path (25.0 %)\n'),
        (['--top=1', '--threshold=0.8'], 'a .png: none of the classes; most probable: two lines [31m (75.0 %)\n'),
    ):
        predict._print('a\n.png', row, names, predict.flags().parse_args(['--workdir=run', *flags, 'a.png']))
        assert capsys.readouterr().out == line
    with PredictionsFile(tmp_path / 'x.csv', names) as file:
        file.write(['1\r.png'], row)
    (written,) = csv.DictReader((tmp_path / 'x.csv').open(newline=''))
    assert (written['path'], written['path (class)'], written['class']) == ('1\r.png', '0.25', names[1])


def test_a_table_that_is_broken_off_keeps_its_rows_and_the_old_one(tmp_path):
    (tmp_path / 'x.csv').write_text('old')
    with pytest.raises(KeyboardInterrupt), PredictionsFile(tmp_path / 'x.csv', ['a', 'b']) as file:
        file.write(['1.png'], np.array([0.25, 0.75]))
        raise KeyboardInterrupt
    assert (tmp_path / 'x.csv').read_text() == 'old'
    assert (tmp_path / 'x.csv.partial').read_text().splitlines()[1:] == ['"1.png","b",0.75,"",0.25,0.75']
    with pytest.raises(InputError, match='x.txt must end with .csv or .jsonl'):
        PredictionsFile(tmp_path / 'x.txt', ['a', 'b'])


def test_a_loaded_network_takes_pictures_of_any_size_and_form(trained, asked, tmp_path, caplog):
    _, good, expected = asked
    network = dsconv.load(trained[1])
    assert network.class_names == ('a cat', 'a dog') and network.image_size == 8
    assert caplog.records == []
    pixels = [np.asarray(Image.open(path)) for path in good]
    for images in (good, np.stack(pixels), [Image.open(path) for path in good]):
        probabilities = network(images)
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities, expected, atol=2e-6)
    for one in (str(good[0]), pixels[0]):
        np.testing.assert_allclose(network(one), expected[:1], atol=2e-6)
    small = np.stack([data.read_picture(path, 8, 3) for path in good])
    padded = np.pad(small, [(0, 0), (1, 1), (1, 1), (0, 0)], mode='edge')
    shifted = [network(padded[:, start : start + 8, start : start + 8]) for start in (0, 1, 2)]
    views = dsconv.load(trained[1], tta=True)(good)  # shifts only: the run does not flip images
    np.testing.assert_allclose(views, softmax(np.log(shifted).mean(0), axis=1), atol=2e-6)
    assert np.abs(views - expected).max() > 1e-3
    grey = np.full((10, 8), 77, np.uint8)
    np.testing.assert_array_equal(network(grey), network(np.full((8, 8, 3), 77, np.uint8)))
    assert network([]).shape == (0, 2)
    large = tmp_path / 'large.jpg'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)).save(large)
    assert np.ptp(network([Image.open(large)] * 16), axis=0).max() == 0  # the same file in several threads
    large.write_bytes(large.read_bytes()[:9000])
    wrong = np.zeros((8, 8, 3)), np.zeros((8, 8, 5), np.uint8), tmp_path / 'absent.png', Image.open(large)
    for given, message in zip(
        wrong, ('must be uint8', 'must be uint8', 'no such file', 'jpg: is damaged'), strict=True
    ):
        with pytest.raises(InputError, match=message):
            network(given)
