import types

import numpy as np
import pytest

from dsconv.config import load
from dsconv.config_auto import choose_sizes, image_size
from dsconv.config_checks import resolve
from dsconv.errors import InputError


def chosen(pictures, size, *overrides):
    """Resolves `configs/pictures.py` for `pictures` training pictures; `pictures` is None if the data is absent."""
    facts = dict(channels=3, class_names=('cat', 'dog'), flippable=True, crop_scale=None)
    source = types.SimpleNamespace(image_size=size, split_sizes={'train': pictures} if pictures else {}, **facts)
    return resolve(load('configs/pictures.py:/pictures', overrides), source)


@pytest.mark.parametrize(
    ('shorter', 'are_equal', 'size', 'patch'),
    [
        (28, True, 28, 2),
        (31, True, 24, 2),  # a prime number: no patch fits
        (50, False, 48, 3),
        (240, False, 64, 4),
        (5, False, 8, 1),
    ],
)
def test_sizes_leave_8_to_16_patches_a_side(shorter, are_equal, size, patch):
    assert image_size(shorter, are_equal) == size
    assert chosen(100, size).model.patch_size == patch


@pytest.mark.parametrize(
    ('pictures', 'batch_size', 'norm_groups', 'epochs', 'policy', 'mixed'),
    [
        (5, 4, 1, 200, 'either', 0.5),
        (245, 16, 1, 100, 'either', 0.5),
        (5_000, 256, 8, 79, 'randaugment', 0),
        (1_000_000, 256, 8, 5, 'none', 0),
    ],
)
def test_what_the_number_of_pictures_decides(pictures, batch_size, norm_groups, epochs, policy, mixed):
    config = chosen(pictures, 32)
    assert (config.batch_size, config.model.norm_groups, config.epochs) == (batch_size, norm_groups, epochs)
    assert (config.augment.policy, config.augment.mix_probability) == (policy, mixed)
    assert config.schedule.warmup_epochs == epochs / 10
    assert config.eval.every_epochs == config.checkpoint.every_epochs == max(1, epochs // 20)
    assert config.dataset.auto is None


def test_of_data_that_is_not_here_only_the_patches_are_chosen():
    config, own = chosen(None, 28), load('configs/pictures.py:/pictures')
    assert config.model.patch_size == 2
    assert (config.batch_size, config.epochs) == (own.batch_size, own.epochs)


def test_what_is_typed_is_taken_and_the_rest_chosen_by_it():
    config = chosen(245, 32, 'epochs=3', 'batch_size=24', 'model.patch_size=4')
    assert (config.epochs, config.batch_size, config.model.patch_size) == (3, 24, 4)
    assert config.schedule.warmup_epochs == 0.3 and config.augment.policy == 'either'
    with pytest.raises(InputError, match='dataset.image_size=227 cannot be cut into 8 to 16 patches per side; use 225'):
        chosen(245, 227)
    assert chosen(245, 227, 'model.patch_size=1').model.patch_size == 1
    with pytest.raises(InputError, match=r'dataset.auto=epoch is not one of .*; did you mean epochs\?'):
        load('configs/small.py', ['dataset.auto=epoch'])


def test_the_argument_is_a_folder_or_a_table():
    for kind, paths in (('image_folder', ('/a', 'gs://b/c')), ('image_table', ('t.csv', 'T.TSV.gz'))):
        for path in paths:
            assert load(f'configs/pictures.py:{path}').dataset.name == f'{kind}:{path}'


def test_the_size_is_that_of_the_shorter_sides_whatever_the_order():
    dataset = types.SimpleNamespace(crop_scale=None, auto=('dataset.image_size', 'dataset.crop_scale'))
    sides = np.array([[40, 70], [70, 40], [41, 70], [70, 41]])
    assert choose_sizes('pictures', sides, None, dataset) == (32, None)
    assert choose_sizes('pictures', 3 * sides, None, dataset) == (64, (0.35, 1.0))
