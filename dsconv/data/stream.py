"""Data larger than memory, read from TFRecords; each epoch is shuffled by file and by buffer, reproducibly.

An epoch's order depends only on (seed, epoch). A resumed run opens the epoch in which it stopped and skips records
without decoding them. A process selects its rows of the global batch before anything is decoded.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from dsconv.data.read_ahead import import_tensorflow, read_ahead
from dsconv.data.splits import STATISTICS_EXAMPLES
from dsconv.errors import InputError, RunError
from dsconv.files import describe, is_passing

SHUFFLE_BYTES = 512 * 2**20  # of undecoded records: about 5,000 photographs, or a whole dataset of thumbnails
READ_BATCH = 256


@dataclasses.dataclass(frozen=True)
class StreamedSplit:
    """A split with the interface of `splits.Split` whose images are decoded while they are read.

    Attributes:
      records: (seed or None for the stored order, positioned) → tf.data.Dataset of {'image': encoded bytes, 'label':
        int64} and, if `positioned`, {'position': int64, the example's index in the stored order}.
      decode: (encoded images `(b,)`, labels int64 `(b,)`, draws) of a batch of records → (images uint8 `(b, S, S, C)`,
        labels int32 `(b,)`). `draws` has (seed, epoch, place in the epoch) of each image's random crop, or None.
      stored_labels: () → int32 `(num_stored,)`; the first call reads all records.
      num_stored: number of examples that `records` yields.
      num_bytes: size of these records in bytes; 0 if unknown.
      where: name of the data in messages.
      cropped: whether training uses random crops.
      members: sorted indices, in the stored order, of the examples of this split; None for all.
    """

    records: Callable
    decode: Callable
    stored_labels: Callable[[], np.ndarray]
    num_stored: int
    num_bytes: int
    where: str
    cropped: bool
    members: np.ndarray | None = None
    in_memory, paths = False, None

    @property
    def num_examples(self) -> int:
        return self.num_stored if self.members is None else len(self.members)

    @property
    def labels(self) -> np.ndarray:
        labels = self.stored_labels()
        return labels if self.members is None else labels[self.members]

    def subset(self, members: np.ndarray) -> 'StreamedSplit':
        """Returns the split of the examples at the indices `members` of this split."""
        return dataclasses.replace(self, members=members if self.members is None else self.members[members])

    def images(self, indices: np.ndarray) -> np.ndarray:
        """Reads images as `Split.images`, with a pass over the whole split; not for training."""
        stored = np.asarray(indices) if self.members is None else self.members[indices]
        wanted, order = np.unique(stored, return_inverse=True)
        chosen = dataclasses.replace(self, members=wanted)
        return np.concatenate([images for images, _ in chosen.in_order(READ_BATCH, slice(None))])[order]

    def shuffled(self, batch_size: int, seed: int, steps: range, rows: slice) -> Iterator[tuple]:
        """Yields batches as `Split.shuffled`, shuffled by file and with a buffer of `SHUFFLE_BYTES`."""

        def requests():
            steps_per_epoch = self.num_examples // batch_size
            fitting = SHUFFLE_BYTES * self.num_stored // self.num_bytes if self.num_bytes else 0
            buffer_size = min(self.num_stored, max(1000, fitting))
            for epoch, those in itertools.groupby(steps, lambda step: step // steps_per_epoch):
                positions = [step % steps_per_epoch for step in those]
                seed_of_epoch = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
                examples = self._examples(seed_of_epoch).shuffle(
                    buffer_size, seed=seed_of_epoch, reshuffle_each_iteration=False
                )
                batches = examples.batch(batch_size, drop_remainder=True).skip(positions[0]).take(len(positions))
                for position, (images, labels) in zip(positions, _requests(batches, rows), strict=True):
                    first = position * batch_size + rows.start
                    draws = [(seed, epoch, first + row) if self.cropped else None for row in range(len(labels))]
                    yield images, labels, draws

        # One reader for all epochs: the buffer of the next epoch fills while batches of the last are still in use.
        return self._decoded(requests())

    def in_order(self, batch_size: int, rows: slice) -> Iterator[tuple]:
        """Yields batches as `Split.in_order`."""
        batches = self._examples(None).batch(batch_size)
        return self._decoded((*request, itertools.repeat(None)) for request in _requests(batches, rows))

    def sample(self) -> Iterator[np.ndarray]:
        """Yields the first images, for statistics."""
        batches = self.in_order(READ_BATCH, slice(None))
        for images, _ in itertools.islice(batches, -(-STATISTICS_EXAMPLES // READ_BATCH)):
            yield images

    def _decoded(self, requests) -> Iterator[tuple]:
        with naming_damage(self.where):
            yield from read_ahead(requests, lambda request: self.decode(*request))

    def _examples(self, seed: int | None):
        if self.members is None:
            return self.records(seed, False)
        belongs = np.zeros(self.num_stored, bool)
        belongs[self.members] = True
        belongs = import_tensorflow().constant(belongs)
        return self.records(seed, True).filter(lambda example: belongs[example['position']])


def _requests(batches, rows: slice) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields this process's rows of every global batch, still encoded."""
    yield from batches.map(lambda batch: (batch['image'][rows], batch['label'][rows])).as_numpy_iterator()


def read_labels(records: Callable, where: str) -> np.ndarray:
    """Reads the int64 labels of all records, in the stored order."""
    labels = records(None, False).map(lambda example: example['label']).batch(READ_BATCH)
    with naming_damage(where):
        return np.concatenate(list(labels.as_numpy_iterator()))


@contextlib.contextmanager
def naming_damage(where: str):
    """Turns TensorFlow's read errors into an InputError, or into a RunError if the data may be intact."""
    try:
        yield
    except import_tensorflow().errors.OpError as error:
        if is_passing(error):  # a fault of the store or the disk: the data may be intact
            raise RunError(f'{where} cannot be read ({describe(error)}): run the same command again') from error
        raise InputError(
            f'{where}: the prepared data is damaged or incomplete ({type(error).__name__}): remove the '
            f'directory and prepare it again'
        ) from error
