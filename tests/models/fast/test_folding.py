"""Images cut into parts: the same rows, and the same network whatever the number of parts."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dsconv.models import build_model
from dsconv.models.fast.folding import Layout, fold, mean_of_parts, with_neighbours
from tests.models.networks import drawn_variables

LAYOUTS = [Layout(2, 1), Layout(4, 2), Layout(2, 8)]
MODEL = {
    'name': 'dsconv', 'implementation': 'fast', 'patch_size': 2, 'stem_kernel_size': None, 'dim': 8, 'depth': 1,
    'kernel_size': 5, 'reduction': (2, 4), 'norm_groups': 8, 'fold': 2, 'shards': 8, 'dtype': 'float32',
}  # fmt: skip


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(0).normal(size=(16, 16, 6, 3)).astype(np.float32)


def parts_of(images, layout):
    """(shard, part, image of the shard) → the part's rows, by NumPy alone."""
    parts, shards = layout
    by_shard = np.split(images, shards)
    return {
        (s, p, i): np.split(by_shard[s][i], parts)[p]
        for s in range(shards)
        for p in range(parts)
        for i in range(len(by_shard[s]))
    }


@pytest.mark.parametrize('layout', LAYOUTS)
def test_parts_stand_in_the_batch_shard_by_shard_part_by_part(images, layout):
    expected = parts_of(images, layout)
    folded = np.asarray(fold(images, layout))
    assert folded.shape == (16 * layout.parts, 16 // layout.parts, 6, 3)
    for row, place in zip(folded, sorted(expected), strict=True):
        assert np.array_equal(row, expected[place])


@pytest.mark.parametrize('layout', LAYOUTS)
def test_neighbours_are_the_rows_above_and_below_in_the_image(images, layout):
    padded = np.pad(images, ((0, 0), (2, 2), (0, 0), (0, 0)))
    height, shards = 16 // layout.parts, layout.shards
    result = np.asarray(with_neighbours(fold(images, layout), 2, layout))
    assert result.shape[1] == height + 4
    for row, (s, p, i) in zip(result, sorted(parts_of(images, layout)), strict=True):
        assert np.array_equal(row, padded[s * (16 // shards) + i, p * height : (p + 1) * height + 4])


@pytest.mark.parametrize('layout', [Layout(), *LAYOUTS])
def test_means_of_parts_are_the_images(images, layout):
    features = fold(images, layout).mean(axis=(1, 2))
    np.testing.assert_allclose(mean_of_parts(features, layout), images.mean(axis=(1, 2)), atol=1e-6)


@pytest.mark.skipif(jax.device_count() == 1, reason='needs several devices')
def test_on_eight_devices_no_image_leaves_its_own(images):
    folded = build_model(MODEL, 5)
    variables = drawn_variables(folded, images.shape[1:])
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ('data',)), PartitionSpec('data'))
    forward = jax.jit(
        lambda images: folded.apply(variables, images, train=True, mutable='batch_stats')[0],
        in_shardings=sharding,
        out_shardings=sharding,
    )
    text = forward.lower(images).compile().as_text()
    assert not [name for name in ('all-gather(', 'all-to-all(', 'collective-permute(') if name in text]
