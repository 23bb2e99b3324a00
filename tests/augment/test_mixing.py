"""MixUp and CutMix against NumPy, with λ read from the soft labels, and how often and how strongly they mix."""

import functools

import jax
import numpy as np
import pytest
import scipy.stats

from configs import common
from dsconv.augment import mixing

HEIGHT, WIDTH = 6, 9
DRAWS = 40_000
MIXUP, CUTMIX = {'cutmix_alpha': 0.0}, {'mixup_alpha': 0.0}
ALWAYS = {'mix_probability': 1.0}
BY_IMAGE, BY_BATCH = {'mix_per': 'image'}, {'mix_per': 'batch'}
# λ then is close to one half: no mixture looks like one of its images, no box is empty or holds all.
NARROW = {'mixup_alpha': 100.0, 'cutmix_alpha': 100.0}


@functools.cache
def compiled(**changed):
    """(key, uint8 `(batch, height, width, channels)`, soft labels) → both, mixed."""
    settings = dict(common.get_config().augment) | changed

    def run(key, images, soft_labels):
        batch, height, width, channels = images.shape
        planes = images.transpose(0, 3, 1, 2).reshape(batch, channels, height * width)
        planes, soft_labels = mixing.mix(key, planes, soft_labels, height, width, settings, active=True)
        return planes.reshape(batch, channels, height, width).transpose(0, 2, 3, 1), soft_labels

    return jax.jit(run)


def mixed(seed, images, soft_labels, **changed):
    return tuple(map(np.asarray, compiled(**changed)(jax.random.key(seed), images, soft_labels)))


def neighbours(values):
    """The first for the second, the second for the first, and so on; of an odd number the last stays."""
    return values[np.minimum(np.arange(len(values)) ^ 1, len(values) - 1)]


@pytest.fixture(scope='module')
def batch():
    """Random images, each of a class of its own; levels are even in the first of two neighbours, odd in the second."""
    images = np.random.default_rng(0).integers(0, 128, (64, HEIGHT, WIDTH, 3), np.uint8) * 2
    images[1::2] += 1
    return images, np.eye(64, dtype=np.float32)


def two_classes(count, height, width, channels=1):
    """Black images of class 0 and white ones of class 1, by turns."""
    number = np.arange(count) % 2
    images = np.broadcast_to(255 * number[:, None, None, None], (count, height, width, channels)).astype(np.uint8)
    return images, np.eye(2, dtype=np.float32)[number]


def own_shares(soft_labels):
    """Of each image of `two_classes` itself in its label: λ."""
    return soft_labels[np.arange(len(soft_labels)), np.arange(len(soft_labels)) % 2]


def methods(images):
    """0, 1 or 2 for each image of `two_classes` mixed by `NARROW`: not mixed, by MixUp, by CutMix."""
    flat = images.reshape(len(images), -1)
    grey = np.any((flat > 0) & (flat < 255), axis=1)
    both = np.any(flat == 0, axis=1) & np.any(flat == 255, axis=1)
    assert not np.any(grey & both)
    return grey + 2 * both


@pytest.mark.parametrize(('per', 'count'), [(BY_IMAGE, 64), (BY_BATCH, 63)])
def test_mixup_weighs_an_image_against_its_neighbour_as_its_label_says(batch, per, count):
    images, labels = (part[:count] for part in batch)
    out, soft = mixed(0, images, labels, **MIXUP, **ALWAYS, **per)
    kept = soft.diagonal().astype(np.float64)
    assert np.ptp(kept) > 0.5 if per is BY_IMAGE else 0.05 < kept[0] < 0.95
    expected = kept[:, None] * labels + (1 - kept)[:, None] * neighbours(labels)
    assert np.allclose(soft, expected, atol=1e-6)
    kept = kept[:, None, None, None]
    exact = kept * images + (1 - kept) * neighbours(images)
    assert out.dtype == np.uint8
    assert np.max(abs(out - exact)) < 0.5 + 1e-3  # rounded, not cut off
    assert np.max(abs(out - exact)) > 0.4


def test_each_methods_lambda_is_beta_distributed():
    kept = own_shares(mixed(1, *two_classes(DRAWS, 1, 1), **ALWAYS, **BY_IMAGE, **MIXUP, mixup_alpha=0.5)[1])
    assert scipy.stats.kstest(kept, scipy.stats.beta(0.5, 0.5).cdf).pvalue > 1e-3
    # CutMix's boxes as the paper's algorithm cuts them, clipped at the border.
    count, size, alpha = 20_000, np.array([12, 20]), 0.6
    _, soft = mixed(3, *two_classes(count, *size), **ALWAYS, **BY_IMAGE, **CUTMIX, cutmix_alpha=alpha)
    covered = np.round((1 - own_shares(soft)) * size.prod()).astype(int)
    generator = np.random.default_rng(3)
    cut = (np.sqrt(1 - generator.beta(alpha, alpha, (count, 1))) * size).astype(int)
    start = generator.integers(0, size, (count, 2)) - cut // 2
    reference = np.prod(np.clip(start + cut, 0, size) - np.clip(start, 0, size), axis=1)
    bounds = np.unique(np.quantile(reference, np.linspace(0, 1, 21)))
    bounds[-1] = size.prod() + 1
    table = [np.histogram(areas, bounds)[0] for areas in (covered, reference)]
    assert np.sum(table) == 2 * count
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-3


@pytest.mark.parametrize('per', [BY_IMAGE, BY_BATCH])
def test_cutmix_puts_a_rectangle_of_the_neighbour_in_and_weighs_the_label_by_its_pixels(batch, per):
    images, labels = batch
    sizes = set()
    for seed in range(8):
        out, soft = mixed(seed, images, labels, **CUTMIX, **ALWAYS, **per)
        foreign = out % 2 != images % 2
        inside = foreign[..., 0]
        assert np.array_equal(foreign, np.repeat(inside[..., None], 3, axis=-1))
        assert np.array_equal(out, np.where(foreign, neighbours(images), images))
        rows, columns = inside.any(axis=2), inside.any(axis=1)
        assert np.array_equal(inside, rows[:, :, None] & columns[:, None, :])
        for line in (*rows, *columns):
            assert np.sum(np.diff(line.astype(int)) == 1) + line[0] <= 1  # in one piece
        share = 1 - inside.mean(axis=(1, 2))
        assert np.allclose(soft, share[:, None] * labels + (1 - share)[:, None] * neighbours(labels), atol=1e-6)
        sizes |= set(inside.sum(axis=(1, 2)).tolist())
    assert len(sizes) > 3


def test_by_image_mixing_happens_by_each_method_with_its_probability():
    images, labels = two_classes(DRAWS, 4, 4)
    out, soft = mixed(4, images, labels, mix_probability=0.3, cutmix_probability=0.2, **NARROW, **BY_IMAGE)
    method = methods(out)
    expected = DRAWS * np.array([0.7, 0.3 * 0.8, 0.3 * 0.2])
    assert scipy.stats.chisquare(np.bincount(method, minlength=3), expected).pvalue > 1e-3
    assert np.array_equal(soft[method == 0], labels[method == 0])
    assert np.all(np.abs(own_shares(soft)[method > 0] - 0.5) < 0.5)


def test_by_batch_all_images_share_method_lambda_and_box():
    changed = dict(mix_probability=0.3, cutmix_probability=0.8, **NARROW, **BY_BATCH)
    images, labels = two_classes(4, 8, 8)
    keys = jax.random.split(jax.random.key(5), 4_000)
    run = jax.jit(jax.vmap(compiled(**changed), in_axes=(0, None, None)))
    out, soft = map(np.asarray, run(keys, images, labels))
    method = methods(out.reshape(-1, 8, 8, 1)).reshape(-1, 4)
    assert np.all(method == method[:, :1])
    kept = np.stack([own_shares(rows) for rows in soft])
    assert np.max(np.ptp(kept, axis=1)) < 1e-6
    # What is black in the first is white in the second, and all pairs are mixed alike.
    assert np.array_equal(out[:, ::2], np.repeat(out[:, :1], 2, axis=1))
    boxed = method[:, 0] == 2
    assert np.array_equal(out[boxed, 0] == 0, out[boxed, 1] == 255)
    assert scipy.stats.chisquare(np.bincount(method[:, 0]), 4_000 * np.array([0.7, 0.06, 0.24])).pvalue > 1e-3
    assert len(np.unique(kept[~boxed & (method[:, 0] > 0), 0])) > 150
