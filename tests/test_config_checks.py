import math
import types

import pytest

from dsconv.config import defaults, flatten, load
from dsconv.config_checks import CHOICES, RANGES, check, check_splits, get, resolve
from dsconv.config_keys import read_keys
from dsconv.errors import InputError

FREE_TEXT = {'dataset.name', 'dataset.data_dir', 'dataset.archive', 'dataset.class_names', 'eval.final_split'}


def config_with(**changes):
    """The defaults with changes that nothing has checked; keys with `__` for dots."""
    config = defaults()
    for key, value in changes.items():
        *groups, leaf = key.split('__')
        (config[groups[0]] if groups else config)[leaf] = value
    return config


def source_with(**changes):
    facts = dict(image_size=32, channels=3, class_names=['cat', 'dog'], flippable=True)
    return types.SimpleNamespace(**facts | changes)


def test_every_key_is_checked():
    """A number has a range or choices, a text has choices unless anything may be written there."""
    for name, key in read_keys(defaults()).items():
        if key.kind in (int, float):
            assert name in RANGES or name in CHOICES, name
        elif key.kind is str:
            assert (name in CHOICES) != (name in FREE_TEXT), name
    assert set(RANGES) | set(CHOICES) <= set(flatten(defaults()))
    assert not set(RANGES) & set(CHOICES)


@pytest.mark.parametrize(('key', 'interval'), RANGES.items(), ids=RANGES)
def test_each_range_holds_the_default_and_ends_where_it_says(key, interval):
    assert interval[0] in '[('
    assert interval[-1] in '])'
    low, high = map(float, interval[1:-1].split(','))
    assert math.isfinite(low)
    assert math.isfinite(high)
    kind, is_tuple = read_keys(defaults())[key].kind, read_keys(defaults())[key].is_tuple

    def is_refused(number):
        config = defaults()
        group, _, leaf = key.rpartition('.')
        (config[group] if group else config)[leaf] = (kind(number),) * 2 if is_tuple else kind(number)
        with pytest.raises(InputError) as caught:  # the last value makes every config impossible, but comes later
            check(_with_impossible_end(config, key))
        return 'must be in' in str(caught.value)

    assert is_refused(low) == (interval[0] == '(')
    assert is_refused(high) == (interval[-1] == ')')
    assert is_refused(low - 1)
    assert is_refused(high + 1)


def _with_impossible_end(config, key):
    """Makes a later check than that of the ranges fail, whatever is at `key`."""
    if key == 'model.kernel_size':
        config.model.reduction = (2, 3)
    else:
        config.model.kernel_size = 4
    return config


@pytest.mark.parametrize('key', [key for key in RANGES if read_keys(defaults())[key].kind is float])
@pytest.mark.parametrize('number', ['nan', 'inf', '-inf', '1e999'])
def test_no_number_is_infinite_or_undefined(key, number):
    with pytest.raises(InputError, match=f'^{key}=-?(nan|inf) must be in '):
        load('configs/digits.py', [f'{key}={number}'])


@pytest.mark.parametrize('key', CHOICES)
def test_each_choice_is_checked(key):
    config = defaults()
    group, leaf = key.split('.')
    config[group][leaf] = 7 if key == 'dataset.channels' else 'nonsense'
    with pytest.raises(InputError, match=f'^{key}=(7|nonsense) is not one of '):
        check(config)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(batch_size=0), 'batch_size=0 must be in [1, 1000000]'),
        (dict(epochs=-1), 'epochs=-1 must be in [1, 1000000]'),
        (
            dict(augment__policy='autoaugmen'),
            'augment.policy=autoaugmen is not one of randaugment, autoaugment, either, none; did you mean autoaugment?',
        ),
        (dict(augment__mix_per='batches'), 'did you mean batch?'),
        (dict(augment__mix_probability=1.5), 'augment.mix_probability=1.5 must be in [0, 1]'),
        (dict(augment__randaugment_magnitude=11.0), 'augment.randaugment_magnitude=11.0 must be in [0, 10]'),
        (dict(augment__fill=256), 'augment.fill=256 must be in [0, 255]'),
        (dict(augment__clean_tail_epochs=301), 'augment.clean_tail_epochs=301 must not be more than epochs=300'),
        (dict(model__activation='GeLU'), 'did you mean gelu?'),
        (dict(model__kernel_size=4), 'model.kernel_size=4 must be odd; take 3 or 5'),
        (dict(model__reduction=(2, 3)), 'model.reduction=2,3 must be two divisors of model.dim=128, as 2,4'),
        (dict(model__reduction=(2,)), 'model.reduction=2 must be two divisors of model.dim=128, as 2,4'),
        (dict(model__reduction=(2, 0)), 'model.reduction=2,0 must be in [1, 65536]'),
        (dict(batch_size=100, model__norm_groups=8), 'model.norm_groups=8 must divide batch_size=100'),
        (
            dict(epochs=5),
            'schedule.warmup_epochs=5.0 must be shorter than epochs=5; take 1, as --config.schedule.warmup_epochs=1',
        ),
        (dict(schedule__end_value=1.0), 'schedule.end_value=1.0 must not be above schedule.peak_value=0.01'),
        (dict(optimizer__b1=1.0), 'optimizer.b1=1.0 must be in [0, 1)'),
        (dict(optimizer__b2=1.0), 'optimizer.b2=1.0 must be in [0, 1)'),
        (dict(optimizer__ema_decay=1.0), 'optimizer.ema_decay=1.0 must be in (0, 1)'),
        (dict(optimizer__eps=0.0), 'optimizer.eps=0.0 must be in (0, 1]'),
        (dict(dataset__train_fraction=0.0), 'dataset.train_fraction=0.0 must be in (0, 1]'),
        (dict(dataset__std=(0.2, 0.0, 0.2)), 'dataset.std=0.2,0.0,0.2 must be in (0, 1]'),
        (dict(dataset__mean=(125.0, 123.0, 114.0)), 'dataset.mean=125.0,123.0,114.0 must be in [0, 1]'),
    ],
)
def test_check_names_key_value_and_remedy(changes, message):
    with pytest.raises(InputError) as caught:
        check(config_with(**changes))
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)


def test_check_accepts_the_defaults():
    check(defaults())


def test_resolve_fills_in_what_the_data_says():
    config = defaults()
    resolved = resolve(config, source_with())
    assert (resolved.dataset.image_size, resolved.dataset.channels) == (32, 3)
    assert resolved.dataset.class_names == ('cat', 'dog')
    assert resolved.augment.flip == 'random'
    assert resolved.is_locked
    assert config.dataset.image_size is None  # a copy was changed
    assert config.augment.flip == 'auto'


@pytest.mark.parametrize(
    ('flip', 'flippable', 'expected'),
    [('auto', False, 'none'), ('auto', True, 'random'), ('none', True, 'none'), ('random', False, 'random')],
)
def test_resolve_flip(flip, flippable, expected):
    assert resolve(config_with(augment__flip=flip), source_with(flippable=flippable)).augment.flip == expected


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(model__patch_size=5), 'model.patch_size=5 does not divide images of 32×32 pixels; take 4'),
        (dict(model__patch_size=64), 'model.patch_size=64 does not divide images of 32×32 pixels; take 32'),
        (dict(augment__cutout_size=33), 'augment.cutout_size=33 must not be larger than the images of 32×32 pixels'),
        (dict(augment__crop_padding=32), 'augment.crop_padding=32 must be smaller than the images of 32×32 pixels'),
        (dict(dataset__mean=(0.5,)), 'dataset.mean=0.5 must hold 3 number(s), one for each channel'),
        (dict(dataset__std=(0.5, 0.5)), 'dataset.std=0.5,0.5 must hold 3 number(s), one for each channel'),
    ],
)
def test_resolve_names_what_does_not_fit_the_images(changes, message):
    with pytest.raises(InputError) as caught:
        resolve(config_with(**changes), source_with())
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ('changes', 'sizes', 'message'),
    [
        ({}, {'test': 9}, 'dataset.name=cifar10 has no split to train on; it has test'),
        (
            {},
            {'train': 511, 'test': 9},
            'batch_size=512 is more than the 511 training images; take fewer, as --config.batch_size=128 '
            '--config.model.norm_groups=1',
        ),
        (
            dict(eval__final_split='tset'),
            {'train': 512, 'test': 9},
            'eval.final_split=tset is not a split of cifar10; it has train, test; did you mean test?',
        ),
        (
            dict(epochs=3, schedule__warmup_epochs=2.99),
            {'train': 5120, 'test': 9},
            'schedule.warmup_epochs=2.99 leaves no step of epochs=3 to the decay',
        ),
    ],
)
def test_check_splits_names_what_does_not_fit_the_splits(changes, sizes, message):
    with pytest.raises(InputError) as caught:
        check_splits(config_with(**changes), sizes)
    assert str(caught.value) == message


def test_check_splits_accepts_one_batch():
    check_splits(defaults(), {'train': 512, 'test': 1})


def test_get():
    assert get(defaults(), 'model.dim') == defaults().model.dim
    assert get(defaults(), 'seed') == defaults().seed


@pytest.mark.parametrize('fold', [3, 16])
def test_a_fold_that_leaves_too_few_rows_is_refused(fold):
    with pytest.raises(InputError, match=f'model.fold={fold} must divide 16 rows of patches into parts of 2 or more'):
        resolve(config_with(model__fold=fold), source_with())
