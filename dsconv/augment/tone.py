"""Tone maps: a table of 256 levels for each channel.

The tables are those of Pillow's ImageOps, int32 `(channels, 256)`; `planes` are uint8 `(channels, height · width)`.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from dsconv.augment.blend import unfused
from dsconv.augment.lookup import LEVELS


def _invert(planes, amount, lookup):
    return 255 - jnp.arange(LEVELS)


def _posterize(planes, bits, lookup):
    """Keeps the `bits` most significant bits."""
    return jnp.arange(LEVELS) >> (8 - bits) << (8 - bits)


def _solarize(planes, threshold, lookup):
    """Inverts the levels that are `threshold` or higher."""
    levels = jnp.arange(LEVELS)
    return jnp.where(levels < threshold, levels, 255 - levels)


def _autocontrast(planes, amount, lookup):
    """Stretches each channel to the full range."""
    darkest, brightest = (extreme(planes, axis=1, keepdims=True).astype(jnp.int32) for extreme in (jnp.min, jnp.max))
    # Pillow computes the table in double precision. A TPU lacks it: one value in 200 may be one level higher there.
    stretched = lax.platform_dependent(
        darkest, brightest, amount, cpu=_stretched, cuda=_stretched, default=_stretched_in_integers
    )
    return jnp.where(darkest < brightest, stretched, jnp.arange(LEVELS))


def _stretched(darkest, brightest, amount):
    with jax.enable_x64(True):
        scale = 255 / jnp.maximum(brightest - darkest, 1).astype(jnp.float64)
        zero = jnp.minimum(amount, 0)
        stretched = unfused(jnp.arange(LEVELS) * scale, zero) - unfused(darkest * scale, zero)
        return jnp.clip(stretched, 0, 255).astype(jnp.int32)


def _stretched_in_integers(darkest, brightest, amount):
    stretched = 255 * (jnp.arange(LEVELS) - darkest) // jnp.maximum(brightest - darkest, 1)
    return jnp.clip(stretched, 0, 255)


def _equalize(planes, amount, lookup):
    """Equalizes each channel's histogram in integers, as Pillow does, which is coarse for small images."""
    below, pixels = lookup.count_below(planes), planes.shape[1]
    below_brightest = jnp.max(below, axis=1, keepdims=True, where=below < pixels, initial=0)
    step = below_brightest // 255
    table = jnp.minimum((step // 2 + below) // jnp.maximum(step, 1), 255)
    return jnp.where(step > 0, table, jnp.arange(LEVELS))


_TABLES = {
    'invert': _invert,
    'posterize': _posterize,
    'solarize': _solarize,
    'autocontrast': _autocontrast,
    'equalize': _equalize,
}
KINDS = tuple(_TABLES)


def tone_map(planes, kind, amount, lookup):
    """Maps the levels of one image; `kind`, int32, is an index into `KINDS`, `lookup` a `lookup.Lookup`.

    `amount` is int32: the bits that posterize keeps, 1 to 8; or the level from which solarize inverts, 0 to 256.
    """

    def table(make, planes, amount):
        return jnp.broadcast_to(make(planes, amount, lookup), (len(planes), LEVELS)).astype(jnp.int32)

    branches = [functools.partial(table, make) for make in _TABLES.values()]
    return lookup.map_levels(planes, lax.switch(kind, branches, planes, amount))
