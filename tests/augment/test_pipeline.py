"""`make_augment`: a config's `augment` part → one function of a key and a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from configs import common
from dsconv.augment import make_augment

CLASSES = 5


def compiled(**changed):
    """`make_augment` of `configs/common.py`, flip resolved, with what a test changes; jitted."""
    settings = dict(common.get_config().augment, flip='random') | changed
    return jax.jit(make_augment(settings, CLASSES))


@pytest.fixture(scope='module')
def batch():
    generator = np.random.default_rng(0)
    return generator.integers(1, 256, (16, 4, 5, 3), np.uint8), generator.integers(0, CLASSES, 16, np.int32)


def outcomes(image, padding, mode='constant'):
    """Bytes of every crop and its mirror → (row, column, mirrored)."""
    height, width, _ = image.shape
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode)
    corners = np.ndindex(2 * padding + 1, 2 * padding + 1)
    crops = {(i, j): padded[i : i + height, j : j + width] for i, j in corners}
    mirrored = {crop[:, ::-1].tobytes(): (*corner, 1) for corner, crop in crops.items()}
    # A reflected crop can be its own mirror; then it counts as not mirrored.
    return mirrored | {crop.tobytes(): (*corner, 0) for corner, crop in crops.items()}


@pytest.fixture(scope='module')
def default():
    return compiled()


def test_labels_become_one_hot(default, batch):
    images, labels = batch
    out, soft = default(jax.random.key(0), 0, images, labels)
    assert out.dtype == jnp.uint8
    assert out.shape == images.shape
    assert soft.dtype == jnp.float32
    assert np.array_equal(soft, np.eye(CLASSES)[labels])
    assert np.array_equal(soft.sum(axis=1), np.ones(16))


def test_everything_off_is_the_identity(batch):
    out, soft = compiled(crop_padding=0, flip='none')(jax.random.key(0), 0, *batch)
    assert np.array_equal(out, batch[0])
    assert np.array_equal(soft, np.eye(CLASSES)[batch[1]])


def test_flip_alone_mirrors_some_images(batch):
    images, labels = batch
    out = np.asarray(compiled(crop_padding=0)(jax.random.key(0), 0, images, labels)[0])
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(out, images, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(out, images, strict=True)]
    assert np.all(np.logical_xor(mirrored, same))
    assert 0 < sum(mirrored) < len(images)


@pytest.mark.parametrize(('mode', 'numpy_mode'), [('zero', 'constant'), ('reflect', 'reflect')])
def test_crop_alone_never_mirrors(batch, mode, numpy_mode):
    images, labels = batch
    crop = compiled(crop_padding=2, crop_mode=mode, flip='none')
    out = np.asarray(crop(jax.random.key(0), 0, images, labels)[0])
    found = [outcomes(image, 2, numpy_mode)[a.tobytes()] for a, image in zip(out, images, strict=True)]
    assert {mirrored for *_, mirrored in found} == {0}
    assert len(set(found)) > 1


def test_crop_and_flip_draw_independently(batch):
    repeated = np.broadcast_to(batch[0][0], (4000, *batch[0].shape[1:]))
    out = np.asarray(compiled(crop_padding=1)(jax.random.key(0), 0, repeated, np.zeros(4000, np.int32))[0])
    places, table = outcomes(batch[0][0], 1), np.zeros((9, 2))
    for image in out:
        row, column, mirrored = places[image.tobytes()]
        table[3 * row + column, mirrored] += 1
    assert scipy.stats.chisquare(table.ravel()).pvalue > 1e-3


def test_the_key_alone_decides(default, batch):
    first, again, later, other = (
        np.asarray(default(jax.random.key(key), epoch, *batch)[0]) for key, epoch in ((0, 0), (0, 0), (0, 9), (1, 0))
    )
    assert np.array_equal(first, again)
    assert np.array_equal(first, later)
    assert not np.array_equal(first, other)


def test_an_outcome_depends_on_the_place_not_on_the_neighbours(default, batch):
    images, labels = batch
    other = images.copy()
    other[1:] = 255 - other[1:]
    first, second = (default(jax.random.key(0), 0, x, labels)[0] for x in (images, other))
    assert np.array_equal(first[0], second[0])


@pytest.mark.skipif(jax.device_count() == 1, reason='needs several devices')
def test_devices_do_not_change_the_outcome(default, batch):
    devices = jax.device_count()
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ('data',)), PartitionSpec('data'))
    images, labels = (np.concatenate([a] * devices) for a in batch)
    expected = default(jax.random.key(4), 0, images, labels)
    sharded = default(jax.random.key(4), 0, *jax.device_put((images, labels), sharding))
    assert len(sharded[0].sharding.device_set) == devices
    for result, reference in zip(sharded, expected, strict=True):
        assert np.array_equal(result, reference)
