"""Cutout and random erasing: the distribution of the boxes, and what is put in them."""

import jax
import numpy as np
import scipy.stats

from dsconv.augment import erase
from tests.augment.test_stages import stage_run

DRAWS = 100_000


def drawn_boxes(height, width, seed=0):
    draw = jax.jit(lambda key: erase.draw_erasing(key, DRAWS, 1.0, height, width))
    return np.asarray(draw(jax.random.key(seed))).astype(np.int64)


def test_cutout_erases_a_square_of_its_size_in_every_image_about_a_uniform_centre():
    size, height, width = 4, 6, 9
    images = np.zeros((DRAWS // 2, height, width, 1), np.uint8)
    box, out = map(np.asarray, stage_run(cutout_size=size, fill=200)(jax.random.key(0), 0, images))
    assert np.all(box[:, 2:] - box[:, :2] == size)
    row, column = (box[:, :2] + size // 2).T
    assert scipy.stats.chisquare(np.bincount(row * width + column, minlength=height * width)).pvalue > 1e-3
    share = np.clip(box[:, 2:], 0, (height, width)) - np.clip(box[:, :2], 0, None)
    assert set(np.unique(out)) == {0, 200}
    assert np.array_equal(np.sum(out == 200, axis=(1, 2, 3)), share.prod(axis=1))


def test_random_erasing_is_within_the_image_in_every_place_where_it_fits():
    height, width = 24, 40
    box = drawn_boxes(height, width)
    sides = box[:, 2:] - box[:, :2]
    assert np.all(sides > 0) and np.all(box[:, :2] >= 0) and np.all(box[:, 2:] <= (height, width))
    for axis in range(2):
        # Every place where a side of 8 pixels fits, the last as often as the first.
        starts = box[sides[:, axis] == 8, axis]
        assert scipy.stats.chisquare(np.bincount(starts, minlength=(height, width)[axis] - 7)).pvalue > 1e-3


def test_random_erasing_is_uniform_in_area_log_ratio_and_place():
    side = 20_000  # so large that rounding to pixels does not show
    box = drawn_boxes(side, side, seed=1)
    tall, wide = (box[:, 2:] - box[:, :2]).T
    assert np.any(tall == side) and not np.any((tall == side) & (wide == side))  # too long a side is clipped
    area = tall * wide / side**2
    # With an area below 0.3 no side is longer than the image.
    small = area < 0.3
    assert scipy.stats.binomtest(int(small.sum()), DRAWS, 0.28 / 0.38).pvalue > 1e-3
    assert scipy.stats.kstest(area[small], 'uniform', (0.02, 0.28)).pvalue > 1e-3
    log_ratio = np.log(tall / wide)[small] / -np.log(0.3)
    assert scipy.stats.kstest(log_ratio, 'uniform', (-1, 2)).pvalue > 1e-3
    top, left = (box[small, :2] / (side - np.stack([tall, wide], axis=1)[small] + 1)).T
    for place in (top, left):
        assert scipy.stats.kstest(place, 'uniform').pvalue > 1e-3
    for one, other in ((area[small], log_ratio), (top, left), (top, area[small]), (left, log_ratio)):
        assert scipy.stats.spearmanr(one, other).pvalue > 1e-3


def test_random_erasing_fills_the_boxes_of_the_share_asked_for_with_noise_and_nothing_else():
    height, width = 16, 20
    images = np.random.default_rng(1).integers(0, 256, (1024, height, width, 3), np.uint8)
    (box, _), out = jax.tree.map(np.asarray, stage_run(erase_probability=0.25)(jax.random.key(3), 0, images))
    top, left, bottom, right = box.T[..., None]
    row, column = np.arange(height), np.arange(width)
    rows, columns = (row >= top) & (row < bottom), (column >= left) & (column < right)
    inside = rows[:, :, None] & columns[:, None, :]
    erased = int(inside.any(axis=(1, 2)).sum())
    assert scipy.stats.binomtest(erased, len(images), 0.25).pvalue > 1e-3
    assert np.array_equal(out[~inside], images[~inside])
    noise = out[inside]
    assert scipy.stats.chisquare(np.bincount(noise.ravel(), minlength=256)).pvalue > 1e-3
    # Neither channels, nor pixels, nor an image and its noise say anything of each other.
    pairs = (noise[:, 0], noise[:, 1]), (noise[:-1, 0], noise[1:, 0]), (noise[:, 0], images[inside][:, 0])
    for one, other in pairs:
        assert scipy.stats.pearsonr(one.astype(float), other.astype(float)).pvalue > 1e-3
