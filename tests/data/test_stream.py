import numpy as np
import pytest

from dsconv.data import channel_statistics, eval_batches, train_batches
from dsconv.data.stream import StreamedSplit, read_labels

tf = pytest.importorskip('tensorflow')

FILES, PER_FILE = 5, 9
STORED = np.arange(FILES * PER_FILE)


def records(seed, positioned):
    """Five files of nine records; the image is its number, the label its number's half."""
    files = tf.data.Dataset.range(FILES)
    if seed is not None:
        files = files.shuffle(FILES, seed=seed, reshuffle_each_iteration=False)
    numbers = files.flat_map(lambda file: tf.data.Dataset.range(file * PER_FILE, (file + 1) * PER_FILE))
    return numbers.map(
        lambda n: {'image': tf.strings.as_string(n), 'label': n // 2} | ({'position': n} if positioned else {})
    )


def decode(encoded, labels, draw):
    numbers = np.array([int(image) for image in encoded], np.uint8)
    return np.tile(numbers.reshape(-1, 1, 1, 1), (1, 2, 2, 1)), labels.astype(np.int32)


@pytest.fixture
def split():
    whole = StreamedSplit(records, decode, lambda: read_labels(records, 'test'), len(STORED), 1000, 'test')
    return whole.subset(np.flatnonzero(STORED % 7 != 3))  # 39 of 45


def train(split, **changed):
    batches = train_batches(split, **dict(batch_size=4, seed=3, start_step=0, num_steps=20) | changed)
    return [(images[:, 0, 0, 0].tolist(), labels.tolist()) for images, labels in batches]


def test_an_epoch_shows_every_member_once_but_for_the_rest(split):
    batches = train(split)
    assert len(batches) == 20
    epochs = [[number for numbers, _ in batches[9 * e : 9 * e + 9] for number in numbers] for e in range(2)]
    for epoch in epochs:
        assert len(set(epoch)) == 36 and all(number % 7 != 3 for number in epoch)
    assert epochs[0] != epochs[1] and epochs[0] != sorted(epochs[0])
    assert all(label == number // 2 for numbers, labels in batches for number, label in zip(numbers, labels))
    assert batches[:2] != train(split, seed=4, num_steps=2)


def test_resumed_runs_and_several_processes_see_the_same_batches(split):
    whole = train(split)
    for start in (8, 13):  # an epoch is 9 steps
        assert train(split, start_step=start) == whole[start:]
    shares = [train(split, process_index=p, process_count=2, num_steps=10) for p in range(2)]
    assert [a[0] + b[0] for a, b in zip(*shares)] == [numbers for numbers, _ in whole[:10]]


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
