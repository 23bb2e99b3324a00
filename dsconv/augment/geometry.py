"""Random crop and flip of uint8 images, each image with draws of its own."""

import jax
import jax.numpy as jnp
from jax import lax


def random_crop(key, images, padding: int, mode: str):
    """Pads by `padding` pixels and cuts a window of the old size at a random place, uniform over all places.

    Args:
      key: a PRNG key.
      images: `(batch, height, width, channels)`, any dtype.
      padding: pixels on each side.
      mode: what the padding holds: 'zero', or 'reflect' (the image mirrored at its edge, the edge not repeated).

    Returns:
      `(batch, height, width, channels)`, of the dtype of `images`.
    """
    widths = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(images, widths, mode='constant' if mode == 'zero' else 'reflect')
    corners = jax.random.randint(key, (images.shape[0], 2), 0, 2 * padding + 1)
    size = images.shape[1:]
    return jax.vmap(lambda image, corner: lax.dynamic_slice(image, (*corner, 0), size))(padded, corners)


def random_flip(key, images):
    """Mirrors each image of `(batch, height, width, channels)` left to right with probability ½."""
    flip = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(flip, images[:, :, ::-1], images)
