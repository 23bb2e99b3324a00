import types
from pathlib import Path

import pytest

from dsconv.config import defaults, load
from dsconv.config_auto import say_once
from dsconv.config_checks import CHOICES, RANGES, check, check_splits, resolve
from dsconv.config_keys import read_keys
from tests.commands import refusal

FREE_TEXT = 'name data_dir archive root splits fold fingerprint train_fingerprint class_names image_key label_key'
FREE_TEXT = {f'dataset.{name}' for name in [*FREE_TEXT.split(), 'split_key', 'group_key']}
FREE_TEXT |= {'eval.final_split', 'init_from', 'optimizer.freeze'}
FREE_TEXT |= {f'loss.{name}' for name in ('class_weights', 'teachers', 'teacher_fingerprints')}


def config_with(**changes):
    """Returns the defaults with unchecked changes; `__` in a key stands for a dot."""
    config = defaults()
    config.update_from_flattened_dict({key.replace('__', '.'): value for key, value in changes.items()})
    return config


def source_with(**changes):
    facts = dict(image_size=32, channels=3, class_names=['cat', 'dog'], flippable=True, crop_scale=None)
    return types.SimpleNamespace(**facts | changes)


def test_every_number_has_a_range_and_every_text_choices_unless_it_is_free_and_a_value_outside_is_refused():
    check(defaults())
    check(config_with(model__norm_groups=7, dataset__auto=('batch_size',)))  # the batch size is chosen later
    for name, (kind, is_tuple, _) in read_keys(defaults()).items():
        assert kind is bool or (name in RANGES) + (name in CHOICES) + (name in FREE_TEXT) == 1, name
        if name in RANGES or name in CHOICES:
            value = 'nonsense' if kind is str else kind(2**40)
            message = refusal(check, config_with(**{name.replace('.', '__'): (value,) * 2 if is_tuple else value}))
            assert message.startswith(f'{name}={value}')
            assert ('is not one of ' if name in CHOICES else f'must be in {RANGES[name]}') in message


@pytest.mark.parametrize(
    ('key', 'fits', 'fails'),
    [
        ('optimizer__b1', 0.0, 1.0),  # [0, 1)
        ('dataset__train_fraction', 1.0, 0.0),  # (0, 1]
        ('dataset__mean', (0.0, 1.0), (0.5, 1.5)),  # [0, 1], each element
        ('schedule__peak_value', 1.0, float('nan')),
    ],
)
def test_intervals_end_where_they_say(key, fits, fails):
    check(config_with(**{key: fits}))
    assert 'must be in ' in refusal(check, config_with(**{key: fails}))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(model__kernel_size=4), 'model.kernel_size=4 must be odd; use 3 or 5'),
        (dict(model__reduction=(2, 3)), 'model.reduction=2,3 must be two divisors of model.dim=128, e.g. 2,4'),
        (dict(batch_size=100, model__norm_groups=8), 'model.norm_groups=8 must divide batch_size=100'),
        (
            dict(epochs=5),
            'schedule.warmup_epochs=5.0 must be less than epochs=5; set, e.g., --config.schedule.warmup_epochs=1',
        ),
        (dict(augment__clean_tail_epochs=301), 'augment.clean_tail_epochs=301 must not be more than epochs=300'),
        (
            dict(eval__patience=3, eval__recalibration_batches=4),
            'eval.recalibration_batches=4 is done at the last step',
        ),
        (dict(dataset__crop_scale=(0.5, 0.3)), 'dataset.crop_scale=0.5,0.3 must be two numbers, the smaller one first'),
        (dict(dataset__crop_ratio=(0.5,)), 'dataset.crop_ratio=0.5 must be two numbers, the smaller one first'),
        (dict(dataset__balanced=True, loss__class_weights='balanced'), 'dataset.balanced=true and loss.class_weights='),
        (dict(schedule__end_value=1.0), 'schedule.end_value=1.0 must not be above schedule.peak_value=0.01'),
    ],
)
def test_check_names_key_value_and_remedy(changes, message):
    assert message in refusal(check, config_with(**changes))


def test_resolve_fills_in_what_the_data_says_in_a_copy(caplog):
    config = defaults()
    resolved = resolve(config, source_with())
    assert (resolved.dataset.image_size, resolved.dataset.channels) == (32, 3)
    assert resolved.dataset.class_names == ('cat', 'dog') and resolved.is_locked
    assert config.dataset.image_size is None
    for key in ('data_dir', 'archive', 'root'):
        assert resolve(config_with(**{f'dataset__{key}': 'x'}), source_with()).dataset[key] == str(Path.cwd() / 'x')
    for name, expected in (('image_folder:x', f'image_folder:{Path.cwd() / "x"}'), ('cifar10', 'cifar10')):
        assert resolve(config_with(dataset__name=name), source_with()).dataset.name == expected
    for flip, flippable, expected in (('auto', False, 'none'), ('auto', True, 'random'), ('random', False, 'random')):
        say_once.cache_clear()
        assert not caplog.messages
        assert resolve(config_with(augment__flip=flip), source_with(flippable=flippable)).augment.flip == expected
    assert 'augment.flip=random mirrors the images of cifar10' in caplog.text


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(model__patch_size=5), 'model.patch_size=5 does not divide images of 32×32 pixels; use 4'),
        (
            dict(model__fold=16),
            'model.fold=16 must divide the 16 rows of patches into equal parts of at least 2 row(s)',
        ),
        (dict(model__fold=3), 'model.fold=3 must divide the 16 rows of patches into equal parts of at least 2 row(s)'),
        (dict(augment__cutout_size=33), 'augment.cutout_size=33 must not be larger than the images of 32×32 pixels'),
        (dict(augment__crop_padding=32), 'augment.crop_padding=32 must be smaller than the images of 32×32 pixels'),
        (dict(dataset__mean=(0.5,)), 'dataset.mean=0.5 must hold 3 number(s), one for each channel'),
    ],
)
def test_resolve_names_what_does_not_fit_the_images(changes, message):
    resolve(config_with(model__fold=8, augment__cutout_size=32, augment__crop_padding=31), source_with())  # the limits
    assert refusal(resolve, config_with(**changes), source_with()) == message


@pytest.mark.parametrize(
    ('changes', 'sizes', 'message'),
    [
        ({}, {'test': 9}, 'dataset.name=cifar10 has no training split, only test: name one, '
         'e.g. --config.dataset.splits=train=NAME'),
        ({}, {'train': 511}, 'batch_size=512 is more than the 511 training images; use a smaller one, e.g. '
         '--config.batch_size=128 --config.model.norm_groups=1'),
        (dict(eval__final_split='tset'), {'train': 512, 'test': 9}, 'eval.final_split=tset is not a split of cifar10; '
         'it has train, test; did you mean test?'),
        (dict(eval__final_split='train'), {'train': 512, 'test': 9}, 'eval.final_split=train must not be train; leave '
         'it out, and use evaluate --split=train'),
        (dict(epochs=3, schedule__warmup_epochs=2.99), {'train': 5120, 'test': 9},
         'schedule.warmup_epochs=2.99 leaves no step of epochs=3 for the decay; shorten it'),
        (dict(eval__patience=3), {'train': 512, 'test': 9}, 'eval.patience=3 needs a validation split; hold '
         'one out with --config.dataset.validation_fraction=0.1'),
    ],
)  # fmt: skip
def test_check_splits_names_what_does_not_fit_the_splits(changes, sizes, message):
    check_splits(defaults(), {'train': 512, 'test': 1})
    assert refusal(check_splits, config_with(**changes), sizes) == message


def test_an_option_of_another_choice_is_refused_where_it_is_typed():
    for overrides, message in (
        (['model.name=resnet20', 'model.dim=64'], 'model.dim=64 has no effect: model.name=resnet20 does not take it'),
        (['model.name=vit_tiny', 'model.norm=none'], 'model.norm=none has no effect'),
        (['model.implementation=plain', 'model.fold=2'], 'model.fold=2 has no effect: model.name=dsconv model.impl'),
        (['optimizer.momentum=0.5'], 'optimizer.momentum=0.5 has no effect: optimizer.name=adamw does not take it'),
        (['optimizer.name=lion', 'optimizer.eps=1e-6'], 'optimizer.eps=1e-06 has no effect: optimizer.name=lion'),
        (['loss.focal_gamma=1'], 'loss.focal_gamma=1.0 has no effect: loss.name=cross_entropy does not take it'),
    ):
        assert refusal(load, 'configs/digits.py', overrides).startswith(message)
    taken = ['model.name=resnet20', 'model.dtype=bfloat16', 'model.norm_groups=2', 'optimizer.name=muon']
    taken += ['optimizer.b1=0.8', 'optimizer.momentum=0.8', 'loss.name=focal', 'loss.focal_gamma=1']
    assert load('configs/large.py', taken).model.dim == 256  # from the file, ignored
