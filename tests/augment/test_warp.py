"""Affine maps against Pillow's, of images whose pixels are their own numbers; windows against NumPy's."""

import functools

import jax
import numpy as np
import pytest
from PIL import Image

from dsconv.augment import warp
from tests.augment.pillow import STEPS

SIZES = [(32, 32), (7, 5), (1, 2)]
affine_source = jax.jit(warp.affine_source, static_argnums=(1, 2))


@functools.cache
def numbered(height, width):
    """Pillow's image of int32: each pixel's number, row by row."""
    return Image.fromarray(np.arange(height * width, dtype=np.int32).reshape(height, width))


def expected_source(affine, height, width):
    moved = numbered(height, width).transform((width, height), Image.Transform.AFFINE, affine, fillcolor=-1)
    return np.asarray(moved).reshape(-1)


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_any_affine_map_is_pillows(size):
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(100):
        a, b, d, e = np.eye(2).reshape(-1) + generator.normal(0, 0.5, 4)
        c, f = generator.normal(0, 0.3, 2) * size[::-1]
        affine = a, b, c, d, e, f
        source = np.asarray(affine_source(warp.fixed_point(affine), *size))
        assert source.dtype == np.int32
        assert np.array_equal(source, expected_source(affine, *size))
        inside += np.mean(source >= 0)
    assert 20 < inside < 80  # of what is compared neither all nor nothing is filling


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_rotation_is_pillows_at_every_step(size):
    for step in range(-STEPS, STEPS + 1, 3):
        angle = 30 * step / STEPS
        rotated = numbered(*size).rotate(angle, fillcolor=-1)
        source = affine_source(warp.fixed_point(warp.rotation(angle, *size)), *size)
        assert np.array_equal(source, np.asarray(rotated).reshape(-1)), angle


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_shear_is_pillows_at_every_step(size):
    for step in range(-STEPS, STEPS + 1, 3):
        k = 0.3 * step / STEPS
        for affine, matrix in ((warp.shear(k, 0), (1, k, 0, 0, 1, 0)), (warp.shear(0, k), (1, 0, 0, k, 1, 0))):
            source = affine_source(warp.fixed_point(affine), *size)
            assert np.array_equal(source, expected_source(matrix, *size)), matrix


@pytest.mark.parametrize('size', [(7, 5)], ids=str)
def test_translation_takes_pixels_from_the_right_and_from_below(size):
    height, width = size
    padded = np.pad(np.arange(height * width).reshape(size), 9, constant_values=-1)
    for x, y in ((0, 0), (1, 0), (0, 1), (-2, 0), (0, -2), (2, -1), (9, 9)):
        source = affine_source(warp.fixed_point(warp.translation(x, y)), *size)
        window = padded[9 + y : 9 + y + height, 9 + x : 9 + x + width]
        assert np.array_equal(source.reshape(size), window), (x, y)


@pytest.mark.parametrize('size', [(4, 5), (1, 1)], ids=str)
@pytest.mark.parametrize('reflect', [False, True])
def test_a_window_is_numpys_at_every_corner(size, reflect):
    height, width = size
    padding = min(3, height - 1, width - 1) if reflect else 3
    numbers = np.arange(height * width).reshape(size)
    padded = np.pad(numbers, padding, 'reflect') if reflect else np.pad(numbers, padding, constant_values=-1)
    crop = jax.jit(functools.partial(warp.crop_source, height=height, width=width, reflect=reflect))
    for i, j in np.ndindex(2 * padding + 1, 2 * padding + 1):
        window = padded[i : i + height, j : j + width]
        corner = np.array([i - padding, j - padding], np.int32)
        assert np.array_equal(crop(corner, False).reshape(size), window)
        assert np.array_equal(crop(corner, True).reshape(size), window[:, ::-1])
