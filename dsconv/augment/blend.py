"""Idea two: whatever enhances an image moves it towards, or away from, a partner made of itself.

As Pillow's ImageEnhance: the result is partner + factor · (image − partner), cut to levels. `planes` are uint8
`(channels, height · width)`, of one or three channels.
"""

import jax.numpy as jnp
from jax import lax

from dsconv.augment.warp import places


def _black(planes, height, width):
    del height, width
    return jnp.zeros_like(planes)


def _grey(planes, height, width):
    del height, width
    return jnp.broadcast_to(_luma(planes), planes.shape).astype(jnp.uint8)


def _mean_grey(planes, height, width):
    luma, pixels = _luma(planes), height * width
    mean = (2 * jnp.sum(luma) + pixels) // (2 * pixels)  # rounded
    return jnp.full_like(planes, mean.astype(jnp.uint8))


def _smooth(planes, height, width):
    """Pillow's SMOOTH: weights 1, the centre 5, of 13, rounded; the outermost pixels stay."""
    if height < 3 or width < 3:
        return planes
    # A pixel's neighbours stand at fixed distances from it; those that wrap round an edge are not kept.
    first, pixels = width + 1, height * width

    def at(distance):
        return planes[:, first + distance : pixels - first + distance].astype(jnp.int32)

    around = sum(at(y + x) for y in (-width, 0, width) for x in (-1, 0, 1))
    smooth = (2 * (around + 4 * at(0)) + 13) // 26
    row, column = places(height, width)
    inner = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    return jnp.where(inner, jnp.pad(smooth.astype(jnp.uint8), ((0, 0), (first, first))), planes)


def _luma(planes):
    """ITU-R 601-2 luma of three channels in Pillow's integer arithmetic, int32 `(pixels,)`; of one channel, itself."""
    levels = planes.astype(jnp.int32)
    if len(planes) == 1:
        return levels[0]
    return (19595 * levels[0] + 38470 * levels[1] + 7471 * levels[2] + 32768) >> 16


_PARTNERS = {'brightness': _black, 'color': _grey, 'contrast': _mean_grey, 'sharpness': _smooth}
KINDS = tuple(_PARTNERS)


def blend(planes, kind, factor, height: int, width: int):
    """Enhances one image.

    Args:
      planes: the image.
      kind: int32, a place in `KINDS`.
      factor: float32; 0 gives the partner, 1 the image, more goes beyond it.
      height, width: pixels.
    """
    branches = [lambda planes, make=make: make(planes, height, width) for make in _PARTNERS.values()]
    partner = lax.switch(kind, branches, planes).astype(jnp.int32)
    product = factor * (planes.astype(jnp.int32) - partner).astype(jnp.float32)
    moved = partner.astype(jnp.float32) + unfused(product, zero=jnp.minimum(kind, 0))
    return jnp.clip(moved, 0, 255).astype(jnp.uint8)


def unfused(product, zero):
    """`product`, rounded: keeps XLA's CPU backend from contracting it with a sum that follows into one instruction.

    Such a fused multiply-add rounds once where Pillow rounds twice, and one blended value in a thousand comes out a
    level off. Bits XORed with a number that is zero, which only the running program can know, stop it; XLA's
    optimization barrier does not.
    """
    bits = jnp.int64 if product.dtype == jnp.float64 else jnp.int32
    return lax.bitcast_convert_type(lax.bitcast_convert_type(product, bits) ^ zero.astype(bits), product.dtype)
