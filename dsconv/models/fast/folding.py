"""Folding: cuts images into parts along the height and puts the parts on the batch axis, to fill the lanes of a TPU.

A core of a v3-8 has 128 lanes and gets 64 of 512 images: two parts per image fill the lanes. A layer that reads
neighbouring rows gets a halo from the neighbouring parts (`with_neighbours`).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax


class Layout(NamedTuple):
    """The layout of images on the batch axis.

    Attributes:
      parts: number of parts of each image, along the height; 1: not folded.
      shards: number of equal, contiguous shares of the batch; a multiple of the numbers of devices and of norm groups.
        Each is folded separately, to keep an image on one device and in one group; its order is (part, image).
    """

    parts: int = 1
    shards: int = 1


WHOLE = Layout()  # images that are not folded


def fold(x, layout: Layout):
    """Folds `(batch, height, …)` to `(parts · batch, height / parts, …)`."""
    parts, shards = layout
    if parts == 1:
        return x
    images = len(x) // shards
    x = x.reshape(shards, images, parts, x.shape[1] // parts, *x.shape[2:]).swapaxes(1, 2)
    return x.reshape(shards * parts * images, *x.shape[3:])


def mean_of_parts(x, layout: Layout):
    """Averages `(parts · batch, features)` over the parts of each image: `(batch, features)`."""
    parts, shards = layout
    if parts == 1:
        return x
    return jnp.mean(x.reshape(shards, parts, -1, x.shape[-1]), axis=1).reshape(-1, x.shape[-1])


def with_neighbours(x, rows: int, layout: Layout):
    """Adds a halo of `rows` rows above and below each part: rows of the adjacent parts, or zeros at the image's edge.

    `(parts · batch, height, width, channels)` → `(parts · batch, height + 2 · rows, width, channels)`.
    """
    above = _from_part(x[:, -rows:], 1, layout)
    below = _from_part(x[:, :rows], -1, layout)
    return jnp.concatenate([above, x, below], axis=1)


def _from_part(edges, step: int, layout: Layout):
    """Returns, for each part, the edge of the part `step` before it, or zeros if there is no such part."""
    parts, shards = layout
    shift = step * (len(edges) // (shards * parts))
    edges_by_shard = edges.reshape(shards, -1, *edges.shape[1:])
    # Pads one end of the batch axis and crops the other: on a TPU, cheaper than any form that moves whole parts.
    padding = [(0, 0, 0), (shift, -shift, 0), *[(0, 0, 0)] * (edges.ndim - 1)]
    return lax.pad(edges_by_shard, jnp.zeros((), edges.dtype), padding).reshape(edges.shape)
