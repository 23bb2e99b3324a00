import hashlib
import math

import numpy as np
import pytest

from dsconv.data import Processes
from dsconv.data.pipeline import channel_statistics, eval_batches, fingerprint, train_batches
from dsconv.data.splits import Split
from dsconv.errors import InputError


@pytest.fixture
def split():
    """23 images that all differ; an image's label can be read off its first pixel."""
    images = np.random.default_rng(0).integers(0, 256, (23, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(23)
    return Split(np.arange(23, dtype=np.int32), images.__getitem__, in_memory=True)


def train(split, **changed):
    return list(train_batches(split, **dict(batch_size=5, seed=3, start_step=0, num_steps=12) | changed))


def test_an_epoch_shows_every_example_once_but_for_the_rest_in_the_documented_order(split):
    batches = train(split)
    assert len(batches) == 12
    for images, labels in batches:
        assert images.shape == (5, 4, 4, 3) and images.dtype == np.uint8 and labels.dtype == np.int32
        assert np.array_equal(images[:, 0, 0, 0], labels)
    epochs = [np.concatenate([labels for _, labels in batches[4 * e : 4 * e + 4]]) for e in range(3)]
    for epoch, labels in enumerate(epochs):
        assert np.array_equal(labels, np.random.Generator(np.random.Philox(key=[3, epoch])).permutation(23)[:20])
    with pytest.raises(InputError, match='batch_size=24 is more than the 23'):
        train_batches(split, batch_size=24, seed=0, start_step=0, num_steps=1)


def test_resumed_runs_and_several_processes_see_the_same_batches(split):
    whole = train(split, batch_size=6)
    for start in (3, 7, 12):  # an epoch is 3 steps
        for batch, again in zip(whole[start:], train(split, batch_size=6, start_step=start), strict=True):
            assert all(map(np.array_equal, batch, again))
    shares = [train(split, batch_size=6, processes=Processes(p, 2)) for p in range(2)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert all(map(np.array_equal, batch, map(np.concatenate, zip(*parts))))


@pytest.mark.parametrize(('batch_size', 'processes'), [(4, 1), (22, 2), (24, 2), (100, 1)])
def test_evaluation_counts_every_example_once(split, batch_size, processes):
    shares = [
        list(eval_batches(split, batch_size=batch_size, processes=Processes(p, processes))) for p in range(processes)
    ]
    assert {len(share) for share in shares} == {math.ceil(23 / batch_size)}
    seen = []
    for batches in zip(*shares):
        for images, labels, mask in batches:
            assert len(images) == len(labels) == len(mask) == batch_size // processes and mask.dtype == bool
            assert not images[~mask].any() and not labels[~mask].any()
            seen.append(labels[mask])
    assert np.array_equal(np.concatenate(seen), np.arange(23))


def test_statistics_are_numpys(split):
    pixels = split.images(np.arange(23)) / 255
    mean, std = channel_statistics(split)
    np.testing.assert_allclose(mean, pixels.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(std, pixels.std((0, 1, 2)), atol=1e-6)
    constant = Split(np.zeros(3, np.int32), np.full((3, 2, 2, 1), 51, np.uint8).__getitem__, True)
    assert channel_statistics(constant) == ((0.2,), (1.0,))


def test_a_fingerprint_is_of_the_examples_or_of_pixels_on_a_disk_and_not_of_their_order():
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)
    labels = np.arange(20, dtype=np.int32) % 3

    def of(images, labels, in_memory=True):
        return fingerprint(Split(labels, images.__getitem__, in_memory))

    def expected(parts):
        return hashlib.sha256(b''.join(sorted(hashlib.sha256(part).digest() for part in parts))).hexdigest()

    pixels, whole = list(map(np.ndarray.tobytes, images)), of(images, labels)
    assert whole == expected(int(label).to_bytes(4, 'little') + image for image, label in zip(pixels, labels))
    assert of(images[::-1], labels[::-1]) == whole != of(images, labels[::-1])
    assert of(images, labels, in_memory=False) == expected([b'20', *pixels])
    images[7, 1, 2, 0] ^= 1
    assert of(images, labels) != whole
