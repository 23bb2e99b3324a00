"""The stages that alter each image independently: crop and flip, a policy's operations, Cutout, random erasing."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dsconv.augment import erase, policies, warp
from dsconv.augment.mixing import MIX_PER
from dsconv.augment.operations import Parameters, apply_operation, parameter_table

# The settings with which no image is altered or mixed.
OFF = {
    'crop_padding': 0,
    'flip': 'none',
    'policy': 'none',
    'cutout_size': 0,
    'erase_probability': 0.0,
    'mix_probability': 0.0,
}
CROP_MODES = ('zero', 'reflect')
POLICIES = ('randaugment', 'autoaugment', 'either', 'none')
# Name → function (key, epoch, images) → bool `(batch,)`: whether each image is mirrored.
FLIPS = {
    'random': lambda key, epoch, images: jax.random.bernoulli(key, shape=(len(images),)),
    'alternating': lambda key, epoch, images: (_hashed_bit(images) + epoch) % 2 == 1,
    'none': lambda key, epoch, images: jnp.zeros(len(images), bool),
}


class Stage(NamedTuple):
    """Draws random parameters for the whole batch, then alters image by image.

    Attributes:
      draw: (key, epoch, images) → arrays with a leading axis `batch`.
      alter: (planes of an image, the parameters drawn for it, height, width, lookup) → planes.
    """

    draw: Callable
    alter: Callable


def switched_on(settings) -> list[Stage]:
    """Returns the enabled stages of an `augment` section, in order; raises ValueError if a setting is not valid."""
    tables = {'crop_mode': CROP_MODES, 'flip': FLIPS, 'policy': POLICIES, 'mix_per': MIX_PER}
    for key, choices in tables.items():
        if settings[key] not in choices:
            raise ValueError(f'augment.{key}={settings[key]!r} is not one of {", ".join(choices)}')
    stages = (
        (_crop_and_flip, settings['crop_padding'] or settings['flip'] != 'none'),
        (_policy, settings['policy'] != 'none'),
        (_cutout, settings['cutout_size']),
        (_random_erasing, settings['erase_probability']),
    )
    return [make(settings) for make, is_on in stages if is_on]


def _crop_and_flip(settings):
    padding, reflect = settings['crop_padding'], settings['crop_mode'] == 'reflect'

    def draw(key, epoch, images):
        crop_key, flip_key = jax.random.split(key)
        corner = jax.random.randint(crop_key, (len(images), 2), -padding, padding + 1)
        return corner, FLIPS[settings['flip']](flip_key, epoch, images)

    def alter(planes, drawn, height, width, lookup):
        corner, mirrored = drawn
        source = warp.crop_source(corner, mirrored, height, width, reflect)
        return lookup.take_pixels(planes, source, fill=0)

    return Stage(draw, alter)


def _hashed_bit(images):
    """Hashes each image's content to a bit, int32 `(batch,)`, which is the same in every epoch and in any order.

    Each image is then mirrored in every other epoch, and about half of the images in each epoch (alternating flip:
    Jordan 2024, "94% on CIFAR-10 in 3.29 seconds", section 3.6).
    """
    weights = np.random.default_rng(0).integers(2**32, size=images[0].size, dtype=np.uint32) | 1
    hashed = jnp.sum(images.reshape(len(images), -1).astype(jnp.uint32) * weights, axis=1, dtype=jnp.uint32)
    return (hashed >> 31).astype(jnp.int32)


def _policy(settings):
    def draw(key, epoch, images):
        choice_key, sign_key, _ = jax.random.split(key, 3)  # three, so that runs of older versions resume unchanged
        operation, step = policies.choose(choice_key, len(images), settings)
        negative = jax.random.bernoulli(sign_key, shape=operation.shape).astype(jnp.int32)
        return jnp.array(parameter_table(*images.shape[1:3]))[operation, negative, step]

    def alter(planes, rows, height, width, lookup):
        for row in rows:
            planes = apply_operation(planes, Parameters.unpacked(row), height, width, settings['fill'], lookup)
        return planes

    return Stage(draw, alter)


def _cutout(settings):
    def draw(key, epoch, images):
        return erase.centred(erase.draw_places(key, (len(images),), *images.shape[1:3]), settings['cutout_size'])

    def alter(planes, box, height, width, lookup):
        return erase.erase(planes, box, settings['fill'], height, width)

    return Stage(draw, alter)


def _random_erasing(settings):
    def draw(key, epoch, images):
        box_key, noise_key = jax.random.split(key)
        batch, height, width, channels = images.shape
        box = erase.draw_erasing(box_key, batch, settings['erase_probability'], height, width)
        return box, jax.random.bits(noise_key, (batch, channels, height * width), jnp.uint8)

    def alter(planes, drawn, height, width, lookup):
        return erase.erase(planes, *drawn, height, width)

    return Stage(draw, alter)
