"""Shows the effects of augmentation for a contact sheet: each operation, and each stage of a config.

A block is `(heading, columns, rows)`, where `columns` has a number for each column or is empty. A row is
`(name, note, images)`; its images are uint8 `(n, height, width, C)`.
"""

import itertools

import jax
import numpy as np

from dsconv.augment.lookup import GATHER
from dsconv.augment.mixing import cutmix_probability
from dsconv.augment.operations import OPERATIONS, STEPS, Parameters, apply_operation, parameter_table
from dsconv.augment.pipeline import make_augment
from dsconv.augment.stages import OFF

SIGNED_MAGNITUDES, MAGNITUDES = (-10, -5, 0, 5, 10), (0, 2, 5, 8, 10)  # on RandAugment's scale
OPERATION_IMAGES, TRAINING_IMAGES = 5, 8  # columns


def operation_blocks(images: np.ndarray, fill: int) -> list[tuple]:
    """Shows every operation: one image at several magnitudes, or the first images if there is no magnitude.

    The one image is the most colourful of the first images, so that changes of colour are visible. `images` are uint8
    `(n, height, width, C)`, `fill` is the level of the pixels from outside. Returns three blocks.
    """
    several = images[:OPERATION_IMAGES]
    one = several[np.argmax(np.ptp(several, axis=-1).mean(axis=(1, 2)))]
    blocks = [('Magnitude', SIGNED_MAGNITUDES, []), ('Magnitude', MAGNITUDES, []), ('No magnitude', (), [])]
    for name, parameters in zip(OPERATIONS, parameter_table(*images.shape[1:3]), strict=True):
        is_signed = (parameters[0] != parameters[1]).any()
        has_magnitude = (parameters[0] != parameters[0, 0]).any()
        _, columns, rows = blocks[0 if is_signed else 1 if has_magnitude else 2]
        magnitudes = columns or (0,) * len(several)
        originals = np.stack([one] * len(magnitudes)) if columns else several
        chosen = np.stack([parameters[int(m < 0), abs(m) * STEPS // 10] for m in magnitudes])
        rows.append((name, '', np.asarray(_operate(originals, chosen, fill))))
    return blocks


@jax.jit
def _operate(images, parameters, fill):
    """Alters each image with the operation of its packed parameters, int32 `(n, 10)`."""
    count, height, width, channels = images.shape
    planes = images.transpose(0, 3, 1, 2).reshape(count, channels, height * width)

    def operate(image):
        planes, row = image
        return apply_operation(planes, Parameters.unpacked(row), height, width, fill, GATHER)

    planes = jax.lax.map(operate, (planes, parameters))
    return planes.reshape(count, channels, height, width).transpose(0, 2, 3, 1)


def training_blocks(config, images: np.ndarray, labels: np.ndarray) -> list[tuple]:
    """Shows the augmentation of a resolved config, and each part of it with the other parts off.

    A part that the config turns off is also shown, with the note 'off'. The parts for erasing and mixing apply them
    with probability 1. `images` and `labels` are a batch, uint8 `(batch, height, width, C)` and int32 `(batch,)`. For
    the batch of a run's first step, the first row of 'augmented' is the input of the network in that step. Returns
    three blocks.
    """
    own = config.augment.to_dict()
    key, steps = jax.random.key(config.seed), itertools.count()  # a key for each row, as for each step of training

    def rows(name, note, count, changed):
        settings = {'epochs': config.epochs, 'augment': own | changed}
        augment = jax.jit(make_augment(settings, len(config.dataset.class_names)))
        for row in range(count):
            augmented, _ = augment(jax.random.fold_in(key, next(steps)), 0, images, labels)
            yield *(('', '') if row else (name, note)), np.asarray(augmented[:TRAINING_IMAGES])

    training = [('originals', '', images[:TRAINING_IMAGES]), *rows('augmented', 'as configured', 2, {})]
    blocks = [('As in training', (), training)]
    for heading, parts in _parts(own, min(images.shape[1:3])).items():
        shown = []
        for name, note, count, is_on, changed in parts:
            # A short run may consist only of its clean tail, in which nothing is mixed.
            alone = OFF | {'clean_tail_epochs': 0} | changed
            shown += rows(name, note if is_on else f'{note} (off)'.lstrip(), count, alone)
        blocks.append((heading, (), shown))
    return blocks


def _parts(own, side):
    """Returns heading → list of (name, note, number of rows, whether it is on, changed settings), one per part."""
    spread = f' ± {own["randaugment_spread"]:g}' if own['randaugment_spread'] else ''
    randaugment = f'{own["randaugment_layers"]} layers, magnitude {own["randaugment_magnitude"]:g}{spread}'
    crop, policy, cutout = {key: own[key] for key in ('crop_padding', 'flip')}, own['policy'], own['cutout_size']
    crop_note = f'padding {own["crop_padding"]}, flip {own["flip"]}'
    side = cutout or side // 2
    alone = [
        ('crop and flip', crop_note, 2, own['crop_padding'] or own['flip'] != 'none', crop),
        ('RandAugment', randaugment, 2, policy in ('randaugment', 'either'), {'policy': 'randaugment'}),
        ('AutoAugment', '', 2, policy in ('autoaugment', 'either'), {'policy': 'autoaugment'}),
        ('either of them', '', 1, policy == 'either', {'policy': 'either'}),
        ('Cutout', f'{side} pixels', 1, cutout, {'cutout_size': side}),
        ('random erasing', '', 1, own['erase_probability'], {'erase_probability': 1.0}),
    ]
    mixed = []
    share = cutmix_probability(own)
    for name, key, chance in (('MixUp', 'mixup_alpha', 1 - share), ('CutMix', 'cutmix_alpha', share)):
        alpha = own[key] or 1.0
        changed = {'mix_probability': 1.0, 'mixup_alpha': 0.0, 'cutmix_alpha': 0.0} | {key: alpha}
        mixed.append((name, f'α = {alpha:g}', 2, own['mix_probability'] and own[key] and chance, changed))
    return {'One part alone': alone, 'Neighbours mixed': mixed}
