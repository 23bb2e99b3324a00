"""Luma and mean, rounded as Pillow does; test_operations.py holds the enhancements to it."""

import jax
import numpy as np

from dsconv.augment import blend
from tests.augment import pillow


def enhance(image, kind, factor):
    """Blends uint8 `(height, width, channels)`."""
    height, width, channels = image.shape
    planes = image.transpose(2, 0, 1).reshape(channels, -1)
    planes = jax.jit(blend.blend, static_argnums=(3, 4))(planes, blend.KINDS.index(kind), factor, height, width)
    return np.asarray(planes).reshape(channels, height, width).transpose(1, 2, 0)


def test_grey_is_pillows_luma_for_colours_of_all_kinds():
    levels = np.append(np.arange(0, 252, 5), [1, 127, 128, 254, 255]).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, len(levels), 3)
    grey = np.asarray(pillow.to_picture(colours).convert('L'))
    assert np.array_equal(enhance(colours, 'color', 0.0), np.stack([grey] * 3, axis=-1))


def test_the_mean_is_rounded_half_up_for_every_parity():
    for levels in ([0, 1], [1, 2], [0, 3], [254, 255], [7, 8, 8], [0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]):
        image = np.array(levels, np.uint8).reshape(1, -1, 1)
        assert np.all(enhance(image, 'contrast', 0.0) == int(np.mean(levels) + 0.5)), levels
