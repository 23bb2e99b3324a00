"""Both forms of the three look-ups against NumPy's indexing and counting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsconv.augment.lookup import GATHER, MOST_ONE_HOT_PIXELS, ONE_HOT

FORMS = {'gather': GATHER, 'one-hot': ONE_HOT}
in_both_forms = pytest.mark.parametrize('form', FORMS)


def images(generator, size):
    """Noise, skewed and constant: with one level for all, counts are large."""
    yield generator.integers(0, 256, size, np.uint8)
    yield np.minimum(generator.exponential(20, size), 255).astype(np.uint8)
    for level in (0, 31, 32, 255):
        yield np.full(size, level, np.uint8)


# Channels and pixels: below, at and above 128, the low digit of a pixel's number.
@pytest.mark.parametrize('size', [(3, 35), (1, 128), (3, 1030)], ids=str)
@in_both_forms
def test_takes_the_pixel_from_its_source_or_the_filling(form, size):
    generator = np.random.default_rng(0)
    take = jax.jit(FORMS[form].take_pixels)
    channels, pixels = size
    with_holes = generator.integers(-pixels // 2, pixels, pixels, np.int32)
    sources = [with_holes, generator.permutation(pixels).astype(np.int32), np.full(pixels, -1, np.int32)]
    for fill, source in zip((128, 255, 7), sources):
        for planes in images(generator, size):
            taken = take(planes, source, fill)
            assert taken.dtype == jnp.uint8
            assert np.array_equal(taken, np.where(source < 0, fill, planes[:, source]))


@in_both_forms
@pytest.mark.parametrize('size', [(1, 35), (3, 1030)], ids=str)
def test_maps_levels_by_each_channels_table_and_counts_those_below(form, size):
    generator, lookup = np.random.default_rng(0), FORMS[form]
    map_levels, count = jax.jit(lookup.map_levels), jax.jit(lookup.count_below)
    for planes in images(generator, size):
        table = generator.integers(0, 256, (size[0], 256), np.int32)
        mapped, below = map_levels(planes, table), count(planes)
        assert (mapped.dtype, below.dtype) == (jnp.uint8, jnp.int32)
        assert np.array_equal(mapped, [channel_table[channel] for channel_table, channel in zip(table, planes)])
        counts = np.array([np.bincount(channel, minlength=256) for channel in planes])
        assert np.array_equal(below, np.cumsum(counts, axis=1) - counts)


def test_large_images_are_not_multiplied():
    for pixels in (MOST_ONE_HOT_PIXELS, MOST_ONE_HOT_PIXELS + 1):
        shapes = jax.ShapeDtypeStruct((3, pixels), jnp.uint8), jax.ShapeDtypeStruct((pixels,), jnp.int32)
        jaxpr = jax.make_jaxpr(ONE_HOT.take_pixels, static_argnums=2)(*shapes, 0)
        assert ('dot_general' in str(jaxpr)) == (pixels <= MOST_ONE_HOT_PIXELS)
