"""Reading in order; how streamed batches are shuffled is tested with files, in `test_tfds_source.py`."""

import numpy as np
import pytest

from dsconv.data import channel_statistics, eval_batches
from dsconv.data.stream import StreamedSplit, read_labels

tf = pytest.importorskip('tensorflow')

STORED = np.arange(45)


def records(seed, positioned):
    """Records whose image is their number, and whose label is its half."""
    return tf.data.Dataset.range(len(STORED)).map(
        lambda n: {'image': tf.strings.as_string(n), 'label': n // 2} | ({'position': n} if positioned else {})
    )


def decode(encoded, labels, draw):
    numbers = np.array([int(image) for image in encoded], np.uint8)
    return np.tile(numbers.reshape(-1, 1, 1, 1), (1, 2, 2, 1)), labels.astype(np.int32)


@pytest.fixture
def split():
    whole = StreamedSplit(records, decode, lambda: read_labels(records, 'test'), len(STORED), 1000, 'test')
    return whole.subset(np.flatnonzero(STORED % 7 != 3))  # 39 of 45


@pytest.mark.parametrize('batch_size', [10, 38])
def test_evaluation_counts_every_example_once_in_order(split, batch_size):
    shares = [list(eval_batches(split, batch_size=batch_size, process_index=p, process_count=2)) for p in range(2)]
    seen = [images[mask][:, 0, 0, 0] for batches in zip(*shares, strict=True) for images, _, mask in batches]
    assert len(shares[0]) == -(-39 // batch_size)
    assert np.concatenate(seen).tolist() == [n for n in STORED if n % 7 != 3]


def test_random_access_labels_and_statistics(split):
    members = STORED[STORED % 7 != 3]
    indices = np.array([30, 2, 2, 0])
    assert split.images(indices)[:, 0, 0, 0].tolist() == members[indices].tolist()
    assert split.labels.tolist() == (members // 2).tolist()
    np.testing.assert_allclose(channel_statistics(split), [[members.mean() / 255], [members.std() / 255]], atol=1e-6)
