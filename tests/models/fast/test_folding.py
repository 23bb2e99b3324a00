"""Images cut into parts: the same rows."""

import numpy as np
import pytest

from dsconv.models.fast.folding import Layout, fold, mean_of_parts, with_neighbours

LAYOUTS = [Layout(4, 2), Layout(2, 8)]


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
