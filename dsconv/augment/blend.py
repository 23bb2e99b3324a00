"""Enhancements: an image is blended with a degenerate form of itself, as in Pillow's ImageEnhance.

The result is degenerate + factor · (image − degenerate), clipped to uint8. `planes` are uint8
`(channels, height · width)`, of one or three channels.
"""

import functools

import jax.numpy as jnp
from jax import lax

from dsconv.augment.warp import places

KINDS = ('brightness', 'color', 'contrast', 'sharpness')  # blend with black, grey, the mean grey, the smoothed image


def _grey(planes):
    return jnp.broadcast_to(_luma(planes), planes.shape).astype(jnp.uint8)


def _mean_grey(planes):
    luma, pixels = _luma(planes), planes.shape[1]
    total = jnp.sum(luma, dtype=jnp.int32 if 256 * pixels < 2**31 else jnp.uint32)  # on a TPU uint32 costs more
    mean = (total + pixels // 2) // pixels  # rounded
    return jnp.full_like(planes, mean.astype(jnp.uint8))


def _smooth(planes, height, width):
    """Applies Pillow's SMOOTH: 3×3 weights of 1, 5 in the centre, divided by 13, rounded; border pixels stay."""
    if height < 3 or width < 3:
        return planes
    # The neighbours of a pixel are at fixed offsets in the flat image; results that wrap around a border are discarded.
    first, pixels = width + 1, height * width

    def at(distance):
        return planes[:, first + distance : pixels - first + distance].astype(jnp.int32)

    around = sum(at(y + x) for y in (-width, 0, width) for x in (-1, 0, 1))
    smooth = (2 * (around + 4 * at(0)) + 13) // 26
    row, column = places(height, width)
    inner = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    return jnp.where(inner, jnp.pad(smooth.astype(jnp.uint8), ((0, 0), (first, first))), planes)


def _luma(planes):
    """Returns the ITU-R 601-2 luma in Pillow's integer arithmetic, int32 `(pixels,)`; a single channel is unchanged."""
    levels = planes.astype(jnp.int32)
    if len(planes) == 1:
        return levels[0]
    return (19595 * levels[0] + 38470 * levels[1] + 7471 * levels[2] + 32768) >> 16


def blend(planes, kind, factor, height: int, width: int):
    """Enhances one image; `kind`, int32, is an index into `KINDS`.

    `factor` is float32: 0 gives the degenerate image, 1 the original image, larger values extrapolate.
    """
    degenerates = jnp.zeros_like, _grey, _mean_grey, functools.partial(_smooth, height=height, width=width)
    degenerate = lax.switch(kind, degenerates, planes).astype(jnp.int32)
    product = factor * (planes.astype(jnp.int32) - degenerate).astype(jnp.float32)
    moved = degenerate.astype(jnp.float32) + unfused(product, zero=jnp.minimum(kind, 0))
    return jnp.clip(moved, 0, 255).astype(jnp.uint8)


def unfused(product, zero):
    """Returns `product`; keeps XLA's CPU backend from fusing it with a following sum into one multiply-add.

    A fused multiply-add rounds once, Pillow rounds twice: one blended value in a thousand would be off by one level.
    XOR with a `zero` that is not a compile-time constant prevents it; XLA's optimization barrier does not.
    """
    bits = jnp.int64 if product.dtype == jnp.float64 else jnp.int32
    return lax.bitcast_convert_type(lax.bitcast_convert_type(product, bits) ^ zero.astype(bits), product.dtype)
