"""The pictures that an export is checked on, and which differences refuse it."""

import numpy as np
import pytest
from PIL import Image

from dsconv import config as configuration
from dsconv import data
from dsconv.errors import InputError
from dsconv.exporting.check import compare, fault, find_pictures
from dsconv.training.run import PICTURES
from tests.conftest import tiny_config


def config_of(name, class_names=('cat', 'dog')):
    config = tiny_config(dataset__name=name, dataset__image_size=8, dataset__channels=1)
    config.dataset.class_names = class_names
    return config


def test_pictures_are_of_a_folder_with_its_classes(write_pictures, tmp_path, caplog):
    folder = write_pictures(classes=('3', 'e\u0301', 'other'), count=4)
    (folder / '3' / '._000.png').write_bytes(b'what a Mac leaves behind')
    (folder / '3' / '2023').mkdir()
    (folder / '3' / '003.png').rename(folder / '3' / '2023' / '003.png')
    (folder / 'other' / '003.png').rename(folder / 'other' / '003')
    config = config_of('digits', class_names=('3', 'é'))  # composed, where a Mac writes two characters
    pictures = find_pictures(config, tmp_path, folder, 100, 6)
    assert pictures.labels.tolist() == [0] * 4 + [1] * 4 + [-1] * 4
    assert len(pictures.calibration) == 6
    assert '4 of 12 pictures are in no folder that is named as a class (3,é)' in caplog.text
    few = find_pictures(config, tmp_path, folder, 3, 6)
    assert (len(few.labels), len(few.calibration)) == (3, 6)


def test_pictures_are_those_with_which_the_run_began(write_pictures, tmp_path):
    folder, workdir = write_pictures(), tmp_path / 'run'
    config = config_of(f'image_folder:{folder}')
    configuration.save_run(workdir, config, {})
    (workdir / 'checkpoints' / '1').mkdir(parents=True)
    (workdir / PICTURES).write_bytes(data.open_source(config.dataset).table())
    before = find_pictures(config, workdir, None, 100, 6)
    for number in range(5):
        Image.new('L', (8, 8), number).save(folder / 'cat' / f'new {number}.png')
    after = find_pictures(config, workdir, None, 100, 6)
    np.testing.assert_array_equal(after.images, before.images)
    np.testing.assert_array_equal(after.calibration, before.calibration)


def test_noise_is_taken_where_there_are_no_pictures_and_no_int8_then(tmp_path):
    (tmp_path / 'empty' / '0').mkdir(parents=True)
    (tmp_path / 'table.csv').write_text('path,label\n' + ''.join(f'{row}.png,{row % 2}\n' for row in range(20)))
    for name in ('image_folder:gone', f'image_folder:{tmp_path / "empty"}', f'image_table:{tmp_path / "table.csv"}'):
        config = config_of(name)
        pictures = find_pictures(config, tmp_path, None, 5000, 0)
        assert pictures.origin.startswith('random noise') and pictures.images.shape == (100, 8, 8, 1)
        with pytest.raises(
            InputError, match=r'^--precision=int8 needs real pictures: give some with --pictures=FOLDER .*$'
        ):
            find_pictures(config, tmp_path, None, 5000, 10)


def test_int8_may_lose_what_is_allowed_and_no_more():
    for right in range(4, 300):
        losses = {lost: right / 300 - (right - lost) / 300 for lost in (3, 4)}
        results = {lost: {'labelled': 300, 'loss_of_accuracy': loss} for lost, loss in losses.items()}
        assert fault(results[3], 'int8', 1 / 100) is None
        assert '4 of 300 pictures' in fault(results[4], 'int8', 1 / 100)
    unlabelled = {'labelled': 50, 'loss_of_accuracy': None, 'agreement': 48 / 50}
    assert fault(unlabelled, 'int8', 4 / 100) is None
    assert '4.00 points of top-1 agreement are lost' in fault(unlabelled, 'int8', 3 / 100)
    assert fault({'labelled': 5000, 'loss_of_accuracy': 0.007}, 'int8', 0.7 / 100) is None  # below 0.007


def test_files_are_checked_on_the_validation_part_and_calibrated_by_the_training_part(tmp_path):
    config = config_of('digits', tuple('0123456789'))
    source, pictures = data.open_source(config.dataset), find_pictures(config, tmp_path, None, 1000, 60)

    def images(name):
        return {image.tobytes() for image in source.load(name).images(np.arange(source.split_sizes[name]))}

    assert {image.tobytes() for image in pictures.images} == images('validation')
    assert {image.tobytes() for image in pictures.calibration} <= images('train') - images('validation')


def test_what_a_file_loses_against_jax_is_a_loss_of_the_pictures_whose_class_is_known():
    reference, labels = np.tile([0.9, 0.1], (4, 1)), np.array([0, 0, 1, -1])
    answer = reference.copy()
    answer[0] = 0.3, 0.7  # right in JAX
    result = compare(answer, reference, labels)
    assert result['loss_of_accuracy'] == pytest.approx(1 / 3) and result['accuracy'] == pytest.approx(1 / 3)
    assert (result['labelled'], result['agreement'], result['max_difference']) == (3, 0.75, pytest.approx(0.6))
    assert '1 of 3 pictures' in fault(result, 'int8', 0.1)
    assert 'differs by nan' in fault({'max_difference': float('nan')}, 'float32', 1 / 100)
