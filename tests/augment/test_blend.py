"""Enhancements against Pillow's ImageEnhance, bit by bit, and the rounding of their arithmetic on all levels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from PIL import ImageEnhance

from dsconv.augment import blend
from tests.augment import pillow

ENHANCERS = {
    'brightness': ImageEnhance.Brightness,
    'color': ImageEnhance.Color,
    'contrast': ImageEnhance.Contrast,
    'sharpness': ImageEnhance.Sharpness,
}
FACTORS = [0.1 + 1.8 * step / pillow.STEPS for step in range(0, pillow.STEPS + 1, 5)]


@functools.partial(jax.jit, static_argnums=(3, 4))
def enhance(planes, kinds, factors, height, width):
    """Each of some images by its own kind and factor."""
    return lax.map(lambda job: blend.blend(*job, height, width), (planes, kinds, factors))


def enhance_all(images, kind, factors):
    """Each image by each factor: uint8 `(factors, images, height, width, channels)`."""
    count, height, width, channels = images.shape
    planes = np.tile(images.transpose(0, 3, 1, 2).reshape(count, channels, -1), (len(factors), 1, 1))
    factors = np.repeat(np.array(factors, np.float32), count)
    enhanced = enhance(planes, np.full(len(planes), blend.KINDS.index(kind)), factors, height, width)
    return np.asarray(enhanced).reshape(-1, count, channels, height, width).transpose(0, 1, 3, 4, 2)


# Thin images, of whose smoothing nothing or one line is left, are among them.
@pytest.mark.parametrize('shape', [(16, 24, 3), (3, 7, 1), (6, 2, 3)], ids=str)
def test_equals_pillow_at_every_factor(shape):
    images = pillow.images(*shape)
    factors = [*FACTORS, 0, 1, 3.7]
    for kind, by_pillow in ENHANCERS.items():
        enhanced = enhance_all(images, kind, factors)
        for image, by_factor in zip(images, enhanced.transpose(1, 0, 2, 3, 4)):
            enhancer = by_pillow(pillow.to_picture(image))
            expected = [pillow.to_image(enhancer.enhance(factor)) for factor in factors]
            assert np.array_equal(by_factor, expected), kind


def test_grey_is_pillows_luma_for_colours_of_all_kinds():
    levels = np.append(np.arange(0, 252, 5), [1, 127, 128, 254, 255]).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, len(levels), 3)
    grey = np.asarray(pillow.to_picture(colours[0]).convert('L'))
    assert np.array_equal(enhance_all(colours, 'color', [0])[0, 0], np.stack([grey] * 3, axis=-1))


def test_the_mean_is_rounded_half_up_for_every_parity():
    for levels in ([0, 1], [0, 3], [1, 2], [254, 255], [0, 0, 1, 1], [0, 0, 0, 1], [0, 1, 1, 1], [7, 8, 8]):
        image = np.array(levels, np.uint8).reshape(1, 1, -1, 1)
        assert np.all(enhance_all(image, 'contrast', [0]) == int(np.mean(levels) + 0.5)), levels


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_a_product_is_rounded_before_it_is_added_to(dtype):
    # A fused multiply-add changes one value in a thousand: all pairs of levels are tried, by all factors.
    levels = np.arange(256, dtype=dtype)
    difference = levels[None, :] - levels[:, None]
    with jax.enable_x64(dtype == np.float64):
        add = jax.jit(lambda partner, factor, zero: partner + blend.unfused(factor * difference, zero))
        for factor in np.array(FACTORS, dtype):
            total = add(levels[:, None], factor, jnp.int32(0))
            assert total.dtype == dtype
            assert np.array_equal(total, levels[:, None] + factor * difference)
