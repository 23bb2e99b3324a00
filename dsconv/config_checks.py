"""Checks the values of a config: by themselves (`check`) and against the data (`resolve`, `check_splits`)."""

import inspect
import logging
import math
import pkgutil
from types import SimpleNamespace

from ml_collections import ConfigDict

from dsconv.config_auto import KEYS, choose, say_once
from dsconv.errors import InputError, did_you_mean, shown
from dsconv.files import absolute

# Key → its choices, or the name of the table whose keys are its choices. The table is imported when a config is
# checked, so that --help does not import JAX.
CHOICES = {
    'model.name': 'dsconv.models:MODELS',
    'model.implementation': ('auto', 'plain', 'fast'),
    'model.activation': 'dsconv.models.layers:ACTIVATIONS',
    'model.norm': 'dsconv.models.layers:NORMS',
    'model.depthwise_form': 'dsconv.models.fast.depthwise:FORMS',
    'model.dtype': ('float32', 'bfloat16'),
    'optimizer.name': 'dsconv.training.optimizer:OPTIMIZERS',
    'schedule.name': 'dsconv.training.optimizer:SCHEDULES',
    'loss.name': 'dsconv.training.loss:LOSSES',
    'augment.policy': 'dsconv.augment.stages:POLICIES',
    'augment.crop_mode': 'dsconv.augment.stages:CROP_MODES',
    'augment.flip': 'dsconv.augment.stages:FLIPS',
    'augment.mix_per': 'dsconv.augment.mixing:MIX_PER',
    'dataset.auto': (None, *KEYS),
    'dataset.channels': (None, 1, 3),
    'log.trackers': 'dsconv.reporting.trackers:TRACKERS',
    'dataset.resize': ('squash', 'crop', 'pad'),
}
BESIDE = {'augment.flip': ('auto',), 'log.trackers': (None,)}  # also allowed: auto before the data is known, unset
# The interval of each number, and of each element of a tuple. If there is no natural upper bound, it is far above
# useful values, so that a typing error does not exhaust the memory.
RANGES = {
    key: interval
    for interval, keys in {
        '[1, 1000000]': 'batch_size epochs eval.batch_size eval.patience checkpoint.keep',
        '[0, 4294967295]': 'seed',
        '[1, 10000]': 'steps_per_dispatch',
        '[0, 1000000]': 'max_skipped_steps dataset.memory_gigabytes schedule.warmup_epochs augment.clean_tail_epochs '
        'eval.recalibration_batches',
        '[0, 0.9]': 'dataset.validation_fraction',
        '(0, 1]': 'dataset.train_fraction dataset.std dataset.crop_scale optimizer.eps optimizer.body_rate '
        'loss.teacher_weight',
        '[0.01, 100]': 'dataset.crop_ratio',
        '[0, 1]': 'dataset.mean augment.erase_probability augment.mix_probability augment.cutmix_probability',
        '[1, 4096]': 'dataset.image_size model.patch_size model.fold',
        '[1, 255]': 'model.stem_kernel_size',
        '[1, 31]': 'model.kernel_size',
        '[1, 65536]': 'model.dim model.reduction model.norm_groups accumulation_steps',
        '[0, 1000]': 'model.depth optimizer.weight_decay schedule.init_value schedule.end_value',
        '(0, 1000]': 'optimizer.muon_rms schedule.peak_value',
        '[0, 1)': 'optimizer.b1 optimizer.b2 optimizer.momentum loss.label_smoothing',
        '(0, 1)': 'optimizer.ema_decay',
        '(0, 1000000]': 'optimizer.clip_norm',
        '[0, 4096]': 'augment.crop_padding augment.cutout_size',
        '[1, 16]': 'augment.randaugment_layers',
        '[0, 10]': 'augment.randaugment_magnitude augment.randaugment_spread',
        '[0, 255]': 'augment.fill',
        '[0, 100]': 'augment.mixup_alpha augment.cutmix_alpha loss.focal_gamma',
        '[1, 1000000000]': 'log.every_steps eval.every_epochs checkpoint.every_epochs',
    }.items()
    for key in keys.split()
}


def resolve(config: ConfigDict, source) -> ConfigDict:
    """Returns a locked copy with the keys that depend on the data filled in, checked against the data.

    These keys are `dataset.{image_size,channels,class_names,crop_scale}`, `augment.flip` and those of `dataset.auto`;
    paths of data become absolute. `source`, from `dsconv.data.open_source`, has `image_size`, `channels`,
    `class_names`, `flippable`, `crop_scale`, and, if values are to be chosen, `split_sizes`.
    """
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.dataset.update(located(config.dataset))
        message = 'cannot be used with data that is already decoded (digits, an archive): leave it unset'
        _demand(config, 'dataset.crop_scale', source.crop_scale or not config.dataset.crop_scale, message)
        config.dataset.crop_scale = source.crop_scale
        config.dataset.image_size = source.image_size
        config.dataset.channels = source.channels
        config.dataset.class_names = tuple(source.class_names)
        if config.augment.flip == 'auto':
            config.augment.flip = 'random' if source.flippable else 'none'
        elif config.augment.flip != 'none' and not source.flippable:
            mirrors = f'augment.flip={config.augment.flip} mirrors the images of {config.dataset.name}'
            say_once(f'{mirrors}, which seem to be characters: set augment.flip=none if they are', logging.WARNING)
        choose(config, source)
        config.dataset.auto = None
    check(config)
    _check_images(config)
    return config


def located(dataset) -> dict:
    """Returns the name and the paths of a `dataset` section, made absolute."""
    kind, _, path = dataset.name.partition(':')
    name = f'{kind}:{absolute(path)}' if kind in ('image_folder', 'image_table') else dataset.name
    paths = {key: dataset[key] for key in ('root', 'data_dir', 'archive')}
    return {'name': name} | {key: path and str(absolute(path)) for key, path in paths.items()}


def unread(dataset) -> list[str]:
    """Returns the keys of a `dataset` section that have no effect on how its kind of data is read."""
    kind, keys = dataset.name.partition(':')[0], []
    if kind in ('digits', 'image_folder') or dataset.archive:
        keys += ['image_key', 'label_key']
    if dataset.name == 'digits' or dataset.archive:
        keys += ['splits']
    if kind != 'image_table':
        keys += ['root', 'split_key', 'group_key']
    return keys


def resolve_without_data(config: ConfigDict, images: int = 50_000) -> ConfigDict:
    """Resolves a config for `images` random training images, by default shaped like CIFAR-10."""
    names = config.dataset.class_names or tuple(map(str, range(10)))
    size, channels = config.dataset.image_size or 32, config.dataset.channels or 3
    source = SimpleNamespace(image_size=size, channels=channels, class_names=names, flippable=True)
    source.crop_scale, source.split_sizes = config.dataset.crop_scale, {'train': images}
    config = resolve(config, source)
    for key in ('mean', 'std'):
        config.dataset[key] = config.dataset[key] or (0.5,) * channels
    config.loss.class_weights = None  # random images have no rare class
    return config


def check_resolved(config: ConfigDict) -> None:
    """Raises InputError unless a run's config has image size, channels, classes and pixel statistics, and is valid."""
    for key in ('dataset.image_size', 'dataset.channels', 'dataset.class_names', 'dataset.mean', 'dataset.std'):
        _demand(config, key, config[key] is not None, 'must be set in a run; restore config.json from a copy')
    _check_images(config)


def _check_images(config):
    size, channels, patch = config.dataset.image_size, config.dataset.channels, config.model.patch_size
    images, padding, cutout = f'images of {size}×{size} pixels', config.augment.crop_padding, config.augment.cutout_size
    if config.model.name == 'dsconv':
        divisor = min((d for d in range(1, size + 1) if size % d == 0), key=lambda d: abs(d - patch))
        rows, fold = size // patch, config.model.fold or 1
        halo = max(config.model.kernel_size // 2, 1)  # rows that a part needs from its neighbours
        fits = fold == 1 or rows % fold == 0 and rows // fold >= halo
        parts = f'must divide the {rows} rows of patches into equal parts of at least {halo} row(s)'
        _demand(config, 'model.patch_size', size % patch == 0, f'does not divide {images}; use {divisor}')
        _demand(config, 'model.fold', fits, parts)
    _demand(config, 'augment.crop_padding', padding < size, f'must be smaller than the {images}')
    _demand(config, 'augment.cutout_size', cutout <= size, f'must not be larger than the {images}')
    for key in ('dataset.mean', 'dataset.std'):
        fits = config[key] is None or len(config[key]) == channels
        _demand(config, key, fits, f'must hold {channels} number(s), one for each channel')


def check_splits(config: ConfigDict, sizes: dict[str, int]) -> None:
    """Raises InputError unless `sizes`, split name → number of images, has the splits and images that a run needs."""
    final, there, epochs = config.eval.final_split, ', '.join(sizes), config.epochs
    name_it = 'name one, e.g. --config.dataset.splits=train=NAME'
    _demand(config, 'dataset.name', 'train' in sizes, f'has no training split, only {there}: {name_it}')
    images, batch = sizes['train'], config.batch_size
    fewer = f'--config.batch_size={2 ** max(int(math.log2(max(images, 1))) - 1, 0)} --config.model.norm_groups=1'
    _demand(
        config,
        'batch_size',
        batch <= images,
        f'is more than the {images} training images; use a smaller one, e.g. {fewer}',
    )
    splits = f'is not a split of {config.dataset.name}; it has {there}{did_you_mean(final, sizes)}'
    _demand(config, 'eval.final_split', final in sizes, splits)
    _demand(
        config, 'eval.final_split', final != 'train', 'must not be train; leave it out, and use evaluate --split=train'
    )
    fits, hold_out = config.eval.patience is None or 'validation' in sizes, '--config.dataset.validation_fraction=0.1'
    _demand(config, 'eval.patience', fits, f'needs a validation split; hold one out with {hold_out}')
    steps = images // batch
    fits = round(config.schedule.warmup_epochs * steps) < epochs * steps
    _demand(config, 'schedule.warmup_epochs', fits, f'leaves no step of epochs={epochs} for the decay; shorten it')


def check_values(config: ConfigDict) -> None:
    """Raises InputError for the first value that is not one of its choices, or is outside its range."""
    for key in CHOICES:
        known, value = choices(key), config[key]
        for each in value if isinstance(value, tuple) else (value,):
            message = f'is not one of {", ".join(map(shown, known))}{did_you_mean(each, known)}'
            _demand(config, key, each in known, message)
    for key, interval in RANGES.items():
        value = config[key]
        numbers = value if isinstance(value, tuple) else (value,)
        fits = all(number is None or _is_within(number, interval) for number in numbers)
        _demand(config, key, fits, f'must be in {interval}')


def check(config: ConfigDict) -> None:
    """Raises InputError for the first value that is invalid for any data."""
    check_values(config)
    model, schedule, batch, epochs = config.model, config.schedule, config.batch_size, config.epochs
    divide = len(model.reduction) == 2 and not any(model.dim % divisor for divisor in model.reduction)
    shorter, peak = f'{min(1, epochs / 2):g}', schedule.peak_value
    shorter = f'must be less than epochs={epochs}; set, e.g., --config.schedule.warmup_epochs={shorter}'
    ends = config.eval.patience is None or not config.eval.recalibration_batches
    sinks = schedule.name != 'exponential' or schedule.end_value > 0
    groups = 'batch_size' in (config.dataset.auto or ()) or batch % model.norm_groups == 0  # it may be chosen later
    twice = 'and loss.class_weights=balanced would correct for rare classes twice: use only one of them'
    below, above = model.kernel_size - 1, model.kernel_size + 1
    for key, fits, message in (
        ('model.kernel_size', model.kernel_size % 2, f'must be odd; use {below} or {above}'),
        ('model.reduction', divide, f'must be two divisors of model.dim={model.dim}, e.g. 2,4'),
        ('model.norm_groups', groups, f'must divide batch_size={batch}; use a divisor, or 1'),
        ('schedule.warmup_epochs', schedule.warmup_epochs < epochs, shorter),
        ('dataset.balanced', not (config.dataset.balanced and config.loss.class_weights == 'balanced'), twice),
        ('augment.clean_tail_epochs', config.augment.clean_tail_epochs <= epochs, f'must not be more than {epochs=}'),
        ('schedule.end_value', schedule.end_value <= peak, f'must not be above schedule.peak_value={peak}'),
        ('schedule.end_value', sinks, 'is never reached by exponential decay; use schedule.name=linear'),
        ('eval.recalibration_batches', ends, 'is done at the last step, which eval.patience may skip; set it to 0'),
    ):
        _demand(config, key, fits, message)
    for key in ('dataset.crop_scale', 'dataset.crop_ratio'):
        fits = config[key] is None or len(config[key]) == 2 and config[key][0] <= config[key][1]
        _demand(config, key, fits, 'must be two numbers, the smaller one first, e.g. 0.35,1')


def choices(key: str) -> tuple:
    """Returns the allowed values of a key of `CHOICES`."""
    table = CHOICES[key]
    return (*BESIDE.get(key, ()), *(pkgutil.resolve_name(table) if isinstance(table, str) else table))


def not_taken(config: ConfigDict, keys) -> dict[str, str]:
    """Returns key → the choice that does not take it, for each of `keys` (dotted names) that has no effect."""
    from dsconv.models import options_of

    plain = ' model.implementation=plain' if config.model.implementation == 'plain' else ''
    chosen = f'model.name={config.model.name}{plain}'
    aside = {f'model.{key}': chosen for key in set(config.model) - options_of(config.model)}
    for section in ('optimizer', 'loss'):
        name, table = config[section].name, pkgutil.resolve_name(CHOICES[f'{section}.name'])
        options = {each: taken_by(make, config[section]) for each, make in table.items()}
        others = set().union(*options.values()) - options[name].keys()
        aside |= {f'{section}.{key}': f'{section}.name={name}' for key in others}
    if not config.loss.teachers:
        aside['loss.teacher_weight'] = 'loss.teachers=none'
    return {key: aside[key] for key in keys if key in aside}


def taken_by(function, section) -> dict:
    """Returns the values of a config's `section` that are parameters of a function, by name."""
    return {name: section[name] for name in inspect.signature(function).parameters if name in section}


def check_is_taken(config: ConfigDict, keys) -> None:
    """Raises InputError for the first of `keys` that has no effect."""
    for key, choice in not_taken(config, keys).items():
        raise InputError(f'{key}={shown(config[key])} has no effect: {choice} does not take it; leave it out')


def _demand(config, key, fits, message):
    if not fits:
        raise InputError(f'{key}={shown(config[key])} {message}')


def _is_within(number, interval):
    low, high = (float(end) for end in interval[1:-1].split(','))
    above = low < number or number == low and interval[0] == '['
    return above and (number < high or number == high and interval[-1] == ']')  # NaN is in no interval
