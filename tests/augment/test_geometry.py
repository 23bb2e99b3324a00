"""Crop and flip against every window that NumPy can cut."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dsconv.augment.geometry import random_crop, random_flip

PADDING = 2
DRAWS = 4000
NUMPY_MODES = {'zero': 'constant', 'reflect': 'reflect'}
crop = jax.jit(random_crop, static_argnames=('padding', 'mode'))
flip = jax.jit(random_flip)


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(0).integers(1, 256, (16, 4, 5, 3), np.uint8)


def windows(image, padding, mode):
    """Bytes of each window of the padded image → its corner."""
    height, width, _ = image.shape
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), NUMPY_MODES[mode])
    corners = np.ndindex(2 * padding + 1, 2 * padding + 1)
    return {padded[i : i + height, j : j + width].tobytes(): (i, j) for i, j in corners}


@pytest.mark.parametrize('mode', NUMPY_MODES)
def test_every_window_occurs_equally_often(images, mode):
    places = windows(images[0], PADDING, mode)
    assert len(places) == (2 * PADDING + 1) ** 2
    repeated = np.broadcast_to(images[0], (DRAWS, *images.shape[1:]))
    cropped = np.asarray(crop(jax.random.key(0), repeated, PADDING, mode))
    # A KeyError here is an output that is no window of the padded image.
    counts = collections.Counter(places[image.tobytes()] for image in cropped)
    assert len(counts) == len(places)
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize('mode', NUMPY_MODES)
def test_each_image_is_cut_from_itself(images, mode):
    cropped = np.asarray(crop(jax.random.key(1), images, PADDING, mode))
    assert cropped.dtype == np.uint8
    assert cropped.shape == images.shape
    corners = [windows(image, PADDING, mode)[out.tobytes()] for image, out in zip(images, cropped, strict=True)]
    assert len(set(corners)) > 4


def test_neighbouring_images_draw_independently(images):
    places = windows(images[0], 1, 'zero')
    repeated = np.broadcast_to(images[0], (DRAWS, *images.shape[1:]))
    corners = [places[image.tobytes()] for image in np.asarray(crop(jax.random.key(2), repeated, 1, 'zero'))]
    table = np.zeros((9, 9))
    for first, second in zip(corners[::2], corners[1::2], strict=True):
        table[3 * first[0] + first[1], 3 * second[0] + second[1]] += 1
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-3


def test_crop_is_a_function_of_the_key(images):
    first, again, other = (np.asarray(crop(jax.random.key(k), images, PADDING, 'zero')) for k in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_crop_without_padding_changes_nothing(images):
    assert np.array_equal(crop(jax.random.key(0), images, 0, 'zero'), images)


def test_crop_and_flip_keep_any_dtype_and_channel_count():
    for dtype, channels in ((jnp.float32, 1), (jnp.uint8, 4)):
        x = jax.ShapeDtypeStruct((3, 6, 4, channels), dtype)
        for f in (lambda x: random_crop(jax.random.key(0), x, 1, 'zero'), lambda x: random_flip(jax.random.key(0), x)):
            y = jax.eval_shape(f, x)
            assert (y.shape, y.dtype) == (x.shape, x.dtype)


def test_half_of_the_images_are_mirrored(images):
    repeated = np.broadcast_to(images[0], (DRAWS, *images.shape[1:]))
    flipped = np.asarray(flip(jax.random.key(0), repeated))
    assert flipped.dtype == np.uint8
    mirrored = np.array([np.array_equal(image, images[0, :, ::-1]) for image in flipped])
    same = np.array([np.array_equal(image, images[0]) for image in flipped])
    assert np.all(mirrored ^ same)
    assert scipy.stats.binomtest(int(mirrored.sum()), DRAWS).pvalue > 1e-3
    # Of two neighbours both are mirrored a quarter of the time.
    both = int(np.sum(mirrored[::2] & mirrored[1::2]))
    assert scipy.stats.binomtest(both, DRAWS // 2, 0.25).pvalue > 1e-3


def test_flip_is_a_function_of_the_key(images):
    first, again, other = (np.asarray(flip(jax.random.key(k), images)) for k in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.skipif(jax.device_count() == 1, reason='needs several devices')
@pytest.mark.parametrize('function', [lambda key, x: random_crop(key, x, 2, 'reflect'), random_flip])
def test_sharding_changes_neither_the_draws_nor_moves_an_image(images, function):
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ('data',)), PartitionSpec('data'))
    batch = np.concatenate([images] * jax.device_count())
    key = jax.random.key(3)
    compiled = jax.jit(function, in_shardings=(None, sharding), out_shardings=sharding).lower(key, batch).compile()
    assert np.array_equal(compiled(key, jax.device_put(batch, sharding)), jax.jit(function)(key, batch))
    assert not any(name in compiled.as_text() for name in ('all-gather', 'all-reduce', 'all-to-all'))
