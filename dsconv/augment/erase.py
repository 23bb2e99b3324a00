"""Boxes for Cutout, random erasing and CutMix.

A box is int32 `(…, 4)`: top, left, bottom and right, the last two exclusive; it may extend beyond the image.
"""

import jax
import jax.numpy as jnp

from dsconv.augment.warp import places


def centred(centre, sides):
    """Returns the box around `centre`, int32 `(…, 2)`; `sides`, height and width, are int32 `(…, 2)` or one int.

    With one int, the box is the square of Cutout (DeVries and Taylor 2017, section 3.2).
    """
    corner = centre - sides // 2
    return jnp.concatenate([corner, corner + sides], axis=-1)


def box_mask(box, height: int, width: int):
    """Returns bool `(height · width,)`: whether each pixel is within a box."""
    row, column = places(height, width)
    top, left, bottom, right = box
    return (row >= top) & (row < bottom) & (column >= left) & (column < right)


def erase(planes, box, filling, height: int, width: int):
    """Fills a box of an image, uint8 `(channels, height · width)`; `filling` is a level or an image of its shape."""
    return jnp.where(box_mask(box, height, width), jnp.asarray(filling, jnp.uint8), planes)


def draw_places(key, shape, height: int, width: int):
    """Draws uniform positions in an image: int32 `(*shape, 2)`, row and column."""
    return jax.random.randint(key, (*shape, 2), 0, jnp.array([height, width]))


def draw_erasing(key, batch: int, probability: float, height: int, width: int):
    """Draws the boxes of random erasing (Zhong et al. 2020, algorithm 1); a box is empty if its image is not erased.

    The area is uniform in 2 % to 40 % of the image, the aspect ratio log-uniform in 0.3 to 1/0.3 (the paper: uniform),
    the position uniform where the box fits. A side longer than the image is clipped to it; the paper draws again.
    Returns int32 `(batch, 4)`.
    """
    happens_key, area_key, ratio_key, place_key = jax.random.split(key, 4)
    area = jax.random.uniform(area_key, (batch,), minval=0.02, maxval=0.4) * height * width
    ratio = jnp.exp(jax.random.uniform(ratio_key, (batch,), minval=-1, maxval=1) * -jnp.log(0.3))
    sides = jnp.stack([jnp.sqrt(area * ratio), jnp.sqrt(area / ratio)], axis=-1)
    most = jnp.array([height, width])
    sides = jnp.clip(jnp.round(sides).astype(jnp.int32), 1, most)
    sides *= jax.random.bernoulli(happens_key, probability, (batch, 1))
    corner = jax.random.randint(place_key, (batch, 2), 0, most - sides + 1)
    return jnp.concatenate([corner, corner + sides], axis=-1)
