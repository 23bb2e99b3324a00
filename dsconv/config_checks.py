"""What a config's values must satisfy: by themselves (`check`) and against the data (`resolve`)."""

from ml_collections import ConfigDict

from dsconv.errors import InputError, did_you_mean

CHOICES = {
    'model.name': ('dsconv',),
    'model.activation': ('gelu', 'gelu_exact', 'relu', 'silu'),
    'model.norm': ('batch', 'layer', 'none'),
    'model.dtype': ('float32', 'bfloat16'),
    'optimizer.name': ('adamw',),
    'schedule.name': ('exponential',),
    'loss.name': ('cross_entropy',),
    'augment.policy': ('none',),
    'augment.crop_mode': ('zero', 'reflect'),
    'augment.flip': ('auto', 'random', 'none'),
    'dataset.channels': (None, 1, 3),
}
# key: (smallest value, largest value, are the ends themselves allowed)
RANGES = {
    'seed': (0, 2**32 - 1, True),
    'batch_size': (1, None, True),
    'epochs': (1, None, True),
    'steps_per_dispatch': (1, None, True),
    'dataset.validation_fraction': (0, 0.9, True),
    'dataset.train_fraction': (1e-9, 1, True),
    'dataset.memory_gigabytes': (0, None, True),
    'dataset.image_size': (1, 4096, True),
    'model.patch_size': (1, None, True),
    'model.stem_kernel_size': (1, None, True),
    'model.dim': (1, None, True),
    'model.depth': (0, None, True),
    'model.kernel_size': (1, None, True),
    'model.norm_groups': (1, None, True),
    'optimizer.weight_decay': (0, None, True),
    'optimizer.b1': (0, 1, True),
    'optimizer.b2': (0, 1, True),
    'optimizer.eps': (0, None, True),
    'optimizer.clip_norm': (0, None, False),
    'optimizer.ema_decay': (0, 1, False),
    'schedule.init_value': (0, None, True),
    'schedule.peak_value': (0, None, False),
    'schedule.end_value': (0, None, False),
    'schedule.warmup_epochs': (0, None, True),
    'augment.crop_padding': (0, None, True),
    'loss.label_smoothing': (0, 1, True),
    'log.every_steps': (1, None, True),
    'eval.every_epochs': (1, None, True),
    'eval.batch_size': (1, None, True),
    'checkpoint.every_epochs': (1, None, True),
    'checkpoint.keep': (1, None, True),
}


def resolve(config: ConfigDict, source) -> ConfigDict:
    """Fills in what the config leaves to the data, and checks the config against it.

    Args:
      config: a loaded config.
      source: of `dsconv.data.open_source`: `image_size`, `channels`, `class_names`, `flippable`, `split_sizes`.

    Returns:
      A locked copy in which `dataset.{image_size,channels,class_names}` and `augment.flip` are set.

    Raises:
      InputError: the patch does not divide the image, fewer training images than one batch, no such split, ….
    """
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.dataset.image_size = source.image_size
        config.dataset.channels = source.channels
        config.dataset.class_names = tuple(source.class_names)
        if config.augment.flip == 'auto':
            config.augment.flip = 'random' if source.flippable else 'none'
    size, sizes = source.image_size, source.split_sizes
    _require(
        size % config.model.patch_size == 0,
        'model.patch_size',
        config,
        f'does not divide images of {size}×{size} pixels; take {_divisor_near(size, config.model.patch_size)}',
    )
    _require(
        config.batch_size <= sizes['train'],
        'batch_size',
        config,
        f'is more than the {sizes["train"]:,} training images; take {sizes["train"]} or fewer',
    )
    _require(
        config.augment.crop_mode == 'zero' or config.augment.crop_padding < size,
        'augment.crop_padding',
        config,
        f'with crop_mode reflect must be smaller than the image of {size} pixels',
    )
    final = config.eval.final_split
    _require(
        final in sizes,
        'eval.final_split',
        config,
        f'is not a split of {config.dataset.name}; it has {", ".join(sizes)}{did_you_mean(final, sizes)}',
    )
    for key in ('mean', 'std'):
        values = config.dataset[key]
        _require(
            values is None or len(values) == source.channels,
            f'dataset.{key}',
            config,
            f'must hold {source.channels} numbers, one for each channel',
        )
    return config


def check(config: ConfigDict) -> None:
    """Raises InputError for the first value that is impossible whatever the data."""
    for key, choices in CHOICES.items():
        value = get(config, key)
        names = ', '.join(str(choice) for choice in choices if choice is not None)
        _require(value in choices, key, config, f'is not one of {names}{did_you_mean(value, choices)}')
    for key, (low, high, closed) in RANGES.items():
        value = get(config, key)
        if value is not None:
            _require(_within(value, low, high, closed), key, config, f'must be {_range_text(low, high, closed)}')
    model, schedule = config.model, config.schedule
    _require(
        model.kernel_size % 2 == 1,
        'model.kernel_size',
        config,
        f'must be odd; take {model.kernel_size - 1} or {model.kernel_size + 1}',
    )
    _require(
        len(model.reduction) == 2 and all(type(r) is int and r > 0 and model.dim % r == 0 for r in model.reduction),
        'model.reduction',
        config,
        f'must be two whole numbers that divide model.dim={model.dim}, as 2,4',
    )
    _require(
        config.batch_size % model.norm_groups == 0,
        'model.norm_groups',
        config,
        f'must divide batch_size={config.batch_size}; take a divisor, or 1',
    )
    _require(
        schedule.warmup_epochs < config.epochs,
        'schedule.warmup_epochs',
        config,
        f'must be shorter than the run of epochs={config.epochs}',
    )
    _require(
        schedule.end_value <= schedule.peak_value,
        'schedule.end_value',
        config,
        f'must not be above schedule.peak_value={schedule.peak_value}',
    )
    for key in ('mean', 'std'):
        values = config.dataset[key]
        _require(
            values is None or all(type(v) in (int, float) for v in values),
            f'dataset.{key}',
            config,
            'must be numbers, as 0.49,0.48,0.44',
        )
    _require(config.dataset.std is None or min(config.dataset.std) > 0, 'dataset.std', config, 'must be above 0')


def get(config, key: str):
    """The value at a dotted key, as `model.dim`."""
    for part in key.split('.'):
        config = config[part]
    return config


def _require(holds, key, config, message):
    if not holds:
        raise InputError(f'{key}={get(config, key)} {message}')


def _within(value, low, high, closed):
    above = value >= low if closed else value > low
    return above and (high is None or (value <= high if closed else value < high))


def _range_text(low, high, closed):
    if high is not None:
        return f'from {low} to {high}' if closed else f'between {low} and {high}'
    return f'at least {low}' if closed else f'above {low}'


def _divisor_near(size, wanted):
    return min((d for d in range(1, size + 1) if size % d == 0), key=lambda d: abs(d - wanted))
