"""Chooses the values of the keys in `dataset.auto` from the data.

The network sees 8×8 to 16×16 patches, whatever the size of the pictures. The thesis's Small sees 16×16 on CIFAR-10.
"""

import functools
import logging
import math
import statistics

from ml_collections import ConfigDict

from dsconv.errors import InputError, shown

SIDES = (8, 16, 24, 32, 48, 64)  # pixels per side that pictures are resized to; larger sizes are slow on a CPU
PLACES = 16  # patches per side, at most
CROP_SCALE = (0.35, 1.0)  # of the random crop of pictures that are at least 1.5 times as large as they are resized to
BATCHES = 12  # per epoch, at least, unless a batch would have fewer than 8 images
STEPS, MOST_STEPS = 1500, 20_000  # of a run: at least, unless that takes over 200 epochs, and at most
EVALUATIONS = 20  # of a run, at least, if it has as many epochs; checkpoints are as frequent
FEW, MANY = 2_000, 20_000  # training pictures: the limits at which the augmentation changes
KEYS = (
    'dataset.image_size', 'dataset.crop_scale',  # chosen when the pictures are opened: dsconv/data/image_folder.py
    'model.patch_size', 'batch_size', 'model.norm_groups', 'epochs', 'schedule.warmup_epochs', 'augment.policy',
    'augment.mix_probability', 'eval.every_epochs', 'checkpoint.every_epochs',
)  # fmt: skip

log = logging.getLogger('dsconv')


def is_auto(dataset, key: str) -> bool:
    """Returns whether the `dataset` section of a config lists a key in `auto`."""
    return key in (dataset.auto or ())


def image_size(shorter: int, are_equal: bool) -> int:
    """Returns pixels per side for pictures of median shorter side `shorter`; equal squares may keep their size."""
    if are_equal and shorter <= SIDES[-1] and _is_cut(shorter):
        return shorter
    return max((side for side in SIDES if side <= shorter), default=SIDES[0])


def choose_sizes(where, sides, size: int | None, dataset) -> tuple[int, tuple[float, float] | None]:
    """Returns pixels per side and the scale of the random crop, or None; logs them if one of them is chosen here.

    Args:
      where: the name of the pictures, for the log.
      sides: int array `(n, 2)`, the sides of each picture in either order.
      size: pixels per side, or None to choose it.
      dataset: the `dataset` section of a config.
    """
    shorter, scale = int(statistics.median(sides.min(1).tolist())), dataset.crop_scale
    size = size or image_size(shorter, bool((sides == sides[0, 0]).all()))
    if scale is None and is_auto(dataset, 'dataset.crop_scale') and shorter >= 1.5 * size:
        scale = CROP_SCALE
    if is_auto(dataset, 'dataset.image_size') or is_auto(dataset, 'dataset.crop_scale'):
        crops = f'; training uses random crops of {scale[0]:g} to {scale[1]:g} of the area' if scale else ''
        side = 'the median of the shorter sides'
        log.info('%s: %s is %d pixels: resized to %d×%d%s', where, side, shorter, size, size, crops)
    return size, scale


def choose(config: ConfigDict, source) -> None:
    """Sets the keys of `dataset.auto` except those of the `dataset` section itself, and logs the values on one line.

    `config` is unlocked and has `dataset.image_size`; `source`, from `dsconv.data.open_source`, has `split_sizes`.
    """
    wanted = [key for key in KEYS if is_auto(config.dataset, key)]
    if not wanted:
        return
    size, known = config.dataset.image_size, source.split_sizes.get('train')
    pictures = known or 1
    if known is None:  # the data is absent; `source` has only its metadata
        wanted = {'model.patch_size'}.intersection(wanted)
    chosen = {}

    def setting(key, value):
        if key in wanted:
            chosen[key] = value
            config.update_from_flattened_dict({key: value})
        return config[key]

    if config.model.name == 'dsconv' and 'model.patch_size' in wanted and not _is_cut(size):
        fits = next(side for side in range(size, 0, -1) if _is_cut(side))
        raise InputError(f'dataset.image_size={size} cannot be cut into 8 to {PLACES} patches per side; use {fits}')
    setting('model.patch_size', size // _places(size))
    batch = setting('batch_size', 2 ** int(math.log2(min(max(pictures / BATCHES, 8), pictures, 256))))
    setting('model.norm_groups', max(1, batch // 32) if batch % 32 == 0 else 1)
    steps = max(1, pictures // batch)
    fewest = min(max(10, math.ceil(STEPS / steps)), 200)
    epochs = setting('epochs', max(1, min(fewest, MOST_STEPS // steps)))
    setting('schedule.warmup_epochs', epochs / 10)
    setting('augment.policy', 'either' if pictures < FEW else 'randaugment' if pictures < MANY else 'none')
    setting('augment.mix_probability', 0.5 if pictures < FEW else 0.0)
    for key in ('eval.every_epochs', 'checkpoint.every_epochs'):
        setting(key, max(1, epochs // EVALUATIONS))
    said = ', '.join(f'{key}={shown(value)}' for key, value in chosen.items())
    if said:
        count = f'{known:,} ' if known else ''
        say_once(f'chosen for {count}training pictures of {size}×{size} pixels: {said}')


@functools.cache  # a study loads and resolves a config many times
def say_once(line: str, level: int = logging.INFO) -> None:
    """Logs a line, unless it was logged before."""
    log.log(level, '%s', line)


def _places(size: int) -> int:
    """Returns the number of patches per side: the largest divisor of `size` up to `PLACES`."""
    return max(places for places in range(1, PLACES + 1) if size % places == 0)


def _is_cut(size: int) -> bool:
    """Returns whether an image divides into at least 8 patches per side, or, if it is smaller, into its pixels."""
    return _places(size) >= min(8, size)
