"""Folding: images cut into parts along their height, which stand in the batch axis, so that they fill a TPU's lanes.

A core of a v3-8 gets 64 of 512 images, and has 128 lanes: with two parts to an image they are full. A layer that looks
at neighbouring rows gets a halo from the neighbouring parts (`with_neighbours`).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax


class Layout(NamedTuple):
    """How images stand in the batch axis.

    Attributes:
      parts: of each image, along its height; 1: not folded.
      shards: equal, contiguous shares of the batch, each folded by itself, so that none of an image's parts leaves its
        device or its group of batch norm: a multiple of the number of both. Within one the order is (part, image).
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
    """Adds a halo of `rows` rows above and below each part: those of its neighbours, or zeros at the image's edge.

    `(parts · batch, height, width, channels)` → height + 2 · `rows`.
    """
    above = _from_part(x[:, -rows:], 1, layout)
    below = _from_part(x[:, :rows], -1, layout)
    return jnp.concatenate([above, x, below], axis=1)


def _from_part(edges, step: int, layout: Layout):
    """Returns for each part the edge of the one `step` before it; zeros for the first, or last."""
    parts, shards = layout
    shift = step * (len(edges) // (shards * parts))
    edges_by_shard = edges.reshape(shards, -1, *edges.shape[1:])
    # Along the batch, zeros in and as many edges out: on a TPU cheaper than any form that moves the parts' bodies.
    padding = [(0, 0, 0), (shift, -shift, 0), *[(0, 0, 0)] * (edges.ndim - 1)]
    return lax.pad(edges_by_shard, jnp.zeros((), edges.dtype), padding).reshape(edges.shape)
