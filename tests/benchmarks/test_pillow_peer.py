"""Pillow's operations do the work of this project's: they agree to the last bit."""

import functools

import jax
import numpy as np
import pytest
from PIL import Image

from benchmarks.augment import pillow_peer
from benchmarks.process import random_batch
from dsconv import config as configuration
from dsconv.augment.lookup import GATHER
from dsconv.augment.operations import OPERATIONS, STEPS, Parameters, apply_operation, parameter_table

SIZE, FILL = 32, 128


@pytest.fixture(scope='module')
def ours():
    @jax.jit
    def apply(planes, row):
        centre = jax.numpy.zeros(2, int)
        return apply_operation(planes, Parameters.unpacked(row), centre, SIZE, SIZE, FILL, GATHER)

    return functools.partial(apply)


def test_operations_agree(ours):
    images, _ = random_batch({'batch_size': 1, 'image_shape': (SIZE, SIZE, 3), 'classes': 10})
    image = images[0] // 2 + 40  # not of all levels, so that stretching them does something
    for name, operation in pillow_peer.operations(SIZE, FILL).items():
        for sign in (1, -1) if name in pillow_peer.SIGNED else (1,):
            row = parameter_table(SIZE, SIZE)[OPERATIONS.index(name), int(sign < 0), 50]
            mine = np.asarray(ours(image.transpose(2, 0, 1).reshape(3, -1), row)).reshape(3, SIZE, SIZE)
            theirs = np.asarray(operation(Image.fromarray(image), sign * 50 / STEPS))
            np.testing.assert_array_equal(theirs, mine.transpose(1, 2, 0), err_msg=name)


def test_augments_a_batch():
    augment = configuration.defaults().augment.to_dict()
    task = {'batch_size': 32, 'image_shape': (SIZE, SIZE, 3), 'classes': 10, 'augment': augment}
    run = pillow_peer.prepare(task)['augment']
    for _ in range(10):  # mixed and not
        images, labels = run()
        assert (images.shape, images.dtype, labels.shape) == ((32, SIZE, SIZE, 3), np.uint8, (32, 10))
        np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)


def test_draws_both_policies():
    augment = configuration.defaults().augment.to_dict()
    drawn = pillow_peer.draw(np.random.default_rng(0), 5000, augment)
    operations = [operation for image in drawn for operation in image]
    assert {name for name, _ in operations} == set(pillow_peer.operations(SIZE, FILL))
    # RandAugment does two operations, AutoAugment the mean of its probabilities' sums.
    assert len(operations) / len(drawn) == pytest.approx((2 + 1.118) / 2, abs=0.05)
    assert min(m for _, m in operations) < 0 <= min(m for name, m in operations if name not in pillow_peer.SIGNED)
