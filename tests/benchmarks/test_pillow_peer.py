import numpy as np
import pytest

from benchmarks.augment import pillow_peer
from dsconv import config as configuration


def test_draws_both_policies():
    # Its operations are what tests/augment compares dsconv's with.
    augment = configuration.defaults().augment.to_dict()
    drawn = pillow_peer.draw(np.random.default_rng(0), 5000, augment)
    operations = [operation for image in drawn for operation in image]
    assert {name for name, _ in operations} == set(pillow_peer.operations(32, 32, 128))
    # RandAugment does two operations, AutoAugment the mean of its probabilities' sums.
    assert len(operations) / len(drawn) == pytest.approx((2 + 1.118) / 2, abs=0.05)
    assert min(m for _, m in operations) < 0 <= min(m for name, m in operations if name not in pillow_peer.SIGNED)
