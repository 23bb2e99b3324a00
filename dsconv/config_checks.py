"""What a config's values must satisfy: by themselves (`check`) and against the data (`resolve`, `check_splits`)."""

import math

from ml_collections import ConfigDict

from dsconv.errors import InputError, did_you_mean, shown
from dsconv.files import absolute

CHOICES = {
    'model.name': (
        'dsconv',
        'alexnet',
        'alexnet_cifar',
        'vgg16',
        'vgg16_cifar',
        'vgg19',
        'resnet8',
        'resnet20',
        'resnet56',
        'resnet50',
        'vit_base',
        'vit_tiny',
        'mobilenetv2_050',
        'convmixer_256_8',
        'densenet_40_12',
    ),
    'model.activation': ('gelu', 'gelu_exact', 'relu', 'leaky_relu', 'elu', 'silu'),
    'model.norm': ('batch', 'layer', 'none'),
    'model.depthwise_form': ('auto', 'shift', 'lax'),
    'model.dtype': ('float32', 'bfloat16'),
    'optimizer.name': ('adamw', 'adam', 'sgd', 'lion', 'muon'),
    'schedule.name': ('exponential', 'cosine', 'linear', 'one_cycle'),
    'loss.name': ('cross_entropy', 'focal', 'binary_cross_entropy'),
    'augment.policy': ('randaugment', 'autoaugment', 'either', 'none'),
    'augment.crop_mode': ('zero', 'reflect'),
    'augment.flip': ('auto', 'random', 'alternating', 'none'),
    'augment.mix_per': ('batch', 'image'),
    'dataset.channels': (None, 1, 3),
}
FOUND_IN_DATA = ('dataset.image_size', 'dataset.channels', 'dataset.class_names', 'dataset.mean', 'dataset.std')
# The interval of each number, and of each number of a tuple. An upper end that nothing else gives is far above what
# is of use: it keeps a slip of the finger from filling the memory.
RANGES = {
    'seed': '[0, 4294967295]',
    'batch_size': '[1, 1000000]',
    'epochs': '[1, 1000000]',
    'steps_per_dispatch': '[1, 10000]',
    'max_skipped_steps': '[0, 1000000]',
    'dataset.validation_fraction': '[0, 0.9]',
    'dataset.train_fraction': '(0, 1]',
    'dataset.memory_gigabytes': '[0, 1000000]',
    'dataset.image_size': '[1, 4096]',
    'dataset.mean': '[0, 1]',
    'dataset.std': '(0, 1]',
    'model.patch_size': '[1, 4096]',
    'model.stem_kernel_size': '[1, 255]',
    'model.dim': '[1, 65536]',
    'model.depth': '[0, 1000]',
    'model.kernel_size': '[1, 255]',
    'model.reduction': '[1, 65536]',
    'accumulation_steps': '[1, 65536]',
    'model.norm_groups': '[1, 65536]',
    'model.fold': '[1, 4096]',
    'optimizer.weight_decay': '[0, 1000]',
    'optimizer.b1': '[0, 1)',
    'optimizer.b2': '[0, 1)',
    'optimizer.eps': '(0, 1]',
    'optimizer.momentum': '[0, 1)',
    'optimizer.muon_rms': '(0, 1000]',
    'optimizer.clip_norm': '(0, 1000000]',
    'optimizer.ema_decay': '(0, 1)',
    'schedule.init_value': '[0, 1000]',
    'schedule.peak_value': '(0, 1000]',
    'schedule.end_value': '[0, 1000]',
    'schedule.warmup_epochs': '[0, 1000000]',
    'augment.crop_padding': '[0, 4096]',
    'augment.randaugment_layers': '[1, 16]',
    'augment.randaugment_magnitude': '[0, 10]',
    'augment.randaugment_spread': '[0, 10]',
    'augment.fill': '[0, 255]',
    'augment.cutout_size': '[0, 4096]',
    'augment.erase_probability': '[0, 1]',
    'augment.mixup_alpha': '[0, 100]',
    'augment.cutmix_alpha': '[0, 100]',
    'augment.mix_probability': '[0, 1]',
    'augment.cutmix_probability': '[0, 1]',
    'augment.clean_tail_epochs': '[0, 1000000]',
    'loss.label_smoothing': '[0, 1)',
    'loss.focal_gamma': '[0, 100]',
    'log.every_steps': '[1, 1000000000]',
    'eval.every_epochs': '[1, 1000000000]',
    'eval.batch_size': '[1, 1000000]',
    'eval.recalibration_batches': '[0, 1000000]',
    'checkpoint.every_epochs': '[1, 1000000000]',
    'checkpoint.keep': '[1, 1000000]',
}


def resolve(config: ConfigDict, source) -> ConfigDict:
    """Fills in what the config leaves to the data, and checks the config against it.

    Args:
      config: a loaded config.
      source: of `dsconv.data.open_source`: `image_size`, `channels`, `class_names`, `flippable`.

    Returns:
      A locked copy in which `dataset.{image_size,channels,class_names}` and `augment.flip` are set, and the path of a
      folder is absolute.

    Raises:
      InputError: the patch does not divide the image, the crop's padding is as large as the image, ….
    """
    config = config.copy_and_resolve_references()
    kind, _, path = config.dataset.name.partition(':')
    with config.unlocked():
        if kind == 'image_folder':  # found again from whatever directory one stands in
            config.dataset.name = f'{kind}:{absolute(path)}'
        config.dataset.image_size = source.image_size
        config.dataset.channels = source.channels
        config.dataset.class_names = tuple(source.class_names)
        if config.augment.flip == 'auto':
            config.augment.flip = 'random' if source.flippable else 'none'
    _check_images(config)
    return config


def check_resolved(config: ConfigDict) -> None:
    """Raises InputError unless a run's config says what `resolve` and the pixel statistics fill in, and it fits."""
    for key in FOUND_IN_DATA:
        if get(config, key) is None:
            raise _wrong(config, key, 'must be known of a run; restore config.json from a copy')
    _check_images(config)


def _check_images(config):
    size, channels = config.dataset.image_size, config.dataset.channels
    if config.model.name == 'dsconv':
        _check_patches(config, size)
    if config.augment.crop_padding >= size:
        raise _wrong(config, 'augment.crop_padding', f'must be smaller than the images of {size}×{size} pixels')
    if config.augment.cutout_size > size:
        raise _wrong(config, 'augment.cutout_size', f'must not be larger than the images of {size}×{size} pixels')
    for key in ('dataset.mean', 'dataset.std'):
        if get(config, key) is not None and len(get(config, key)) != channels:
            raise _wrong(config, key, f'must hold {channels} number(s), one for each channel')


def _check_patches(config, size):
    patch = config.model.patch_size
    if size % patch:
        nearest = min((d for d in range(1, size + 1) if size % d == 0), key=lambda d: abs(d - patch))
        raise _wrong(config, 'model.patch_size', f'does not divide images of {size}×{size} pixels; take {nearest}')
    rows, fewest = size // patch, config.model.kernel_size // 2  # a part lends so many rows to its neighbours
    fold = config.model.fold or 1
    if fold > 1 and (rows % fold or rows // fold < fewest):
        raise _wrong(config, 'model.fold', f'must divide {rows} rows of patches into parts of {max(fewest, 1)} or more')


def check_splits(config: ConfigDict, sizes: dict[str, int]) -> None:
    """Raises InputError unless `sizes`, split's name → images, has the splits and the images that the run needs."""
    final, there = config.eval.final_split, ', '.join(sizes)
    if 'train' not in sizes:
        raise _wrong(config, 'dataset.name', f'has no split to train on; it has {there}')
    if config.batch_size > sizes['train']:
        fewer = 2 ** max(int(math.log2(max(sizes['train'], 1))) - 1, 0)
        raise _wrong(
            config,
            'batch_size',
            f'is more than the {sizes["train"]} training images; take fewer, as --config.batch_size={fewer} '
            f'--config.model.norm_groups=1',
        )
    if final not in sizes:
        hint = did_you_mean(final, sizes)
        raise _wrong(config, 'eval.final_split', f'is not a split of {config.dataset.name}; it has {there}{hint}')
    steps_per_epoch = sizes['train'] // config.batch_size
    if round(config.schedule.warmup_epochs * steps_per_epoch) >= config.epochs * steps_per_epoch:
        raise _wrong(config, 'schedule.warmup_epochs', f'leaves no step of epochs={config.epochs} to the decay')


def check(config: ConfigDict) -> None:
    """Raises InputError for the first value that is impossible whatever the data."""
    for key, choices in CHOICES.items():
        if get(config, key) not in choices:
            names = ', '.join(shown(choice) for choice in choices)
            raise _wrong(config, key, f'is not one of {names}{did_you_mean(get(config, key), choices)}')
    for key, interval in RANGES.items():
        value = get(config, key)
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and not _is_within(number, interval):
                raise _wrong(config, key, f'must be in {interval}')
    model, schedule = config.model, config.schedule
    if model.kernel_size % 2 == 0:
        raise _wrong(
            config, 'model.kernel_size', f'must be odd; take {model.kernel_size - 1} or {model.kernel_size + 1}'
        )
    if len(model.reduction) != 2 or any(model.dim % divisor for divisor in model.reduction):
        raise _wrong(config, 'model.reduction', f'must be two divisors of model.dim={model.dim}, as 2,4')
    if config.batch_size % model.norm_groups:
        raise _wrong(config, 'model.norm_groups', f'must divide batch_size={config.batch_size}; take a divisor, or 1')
    if schedule.warmup_epochs >= config.epochs:
        shorter = min(1, config.epochs / 2)
        raise _wrong(
            config,
            'schedule.warmup_epochs',
            f'must be shorter than epochs={config.epochs}; take {shorter:g}, '
            f'as --config.schedule.warmup_epochs={shorter:g}',
        )
    if config.augment.clean_tail_epochs > config.epochs:
        raise _wrong(config, 'augment.clean_tail_epochs', f'must not be more than epochs={config.epochs}')
    if schedule.end_value > schedule.peak_value:
        raise _wrong(config, 'schedule.end_value', f'must not be above schedule.peak_value={schedule.peak_value}')
    if schedule.name == 'exponential' and schedule.end_value == 0:
        raise _wrong(config, 'schedule.end_value', 'is never reached exponentially; take schedule.name=linear')


def get(config: ConfigDict, key: str):
    """The value at a dotted key, as `model.dim`."""
    for part in key.split('.'):
        config = config[part]
    return config


def _wrong(config, key, message):
    return InputError(f'{key}={shown(get(config, key))} {message}')


def _is_within(number, interval):
    low, high = (float(end) for end in interval[1:-1].split(','))
    return (low <= number if interval[0] == '[' else low < number) and (
        number <= high if interval[-1] == ']' else number < high
    )  # NaN is in none
