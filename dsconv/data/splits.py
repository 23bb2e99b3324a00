"""Splits: examples with random access, and how 'train', 'validation' and 'test' are cut from a dataset's own splits."""

import dataclasses
import functools
import logging
import re
from collections.abc import Callable, Iterator

import numpy as np

from dsconv.data.listing import replaces_validation
from dsconv.data.read_ahead import read_ahead
from dsconv.data.stratified import divide_into_folds, stratified_split
from dsconv.errors import InputError, shown

# Fixed, not the run's seed: every run, study and evaluation must hold out the same examples.
TEST_SEED = 80_20
VALIDATION_SEED = 20_151
TRAIN_SEED = 20_152
TEST_FRACTION = 0.2
STATISTICS_EXAMPLES = 10_000
REMEDY = 'add groups or a column of splits, or ignore the groups with dataset.group_key=-'

log = logging.getLogger('dsconv')


@dataclasses.dataclass(frozen=True)
class Split:
    """Examples that can be read in any order.

    Attributes:
      labels: int32 `(num_examples,)`.
      images: integer indices `(n,)` → uint8 `(n, image_size, image_size, channels)`; if the split is `cropped`, also
        (indices, seed, epoch, their places in the epoch's order) → the same shape, a random crop of each image.
      in_memory: whether images are read without decoding.
      paths: text `(num_examples,)`, the pictures' files; None if the images are not separate files.
      cropped: whether training uses random crops.
      balanced: whether an epoch has equally many examples of each class, repeating examples of rare classes.
    """

    labels: np.ndarray
    images: Callable[..., np.ndarray]
    in_memory: bool
    paths: np.ndarray | None = None
    cropped: bool = False
    balanced: bool = False

    @property
    def num_examples(self) -> int:
        return len(self.labels)

    def subset(self, members: np.ndarray) -> 'Split':
        """Returns the split of the examples at the indices `members`."""
        paths = None if self.paths is None else self.paths[members]

        def images(indices, *draw):
            return self.images(members[indices], *draw)

        return dataclasses.replace(self, labels=self.labels[members], images=images, paths=paths)

    def shuffled(self, batch_size: int, seed: int, steps: range, rows: slice) -> Iterator[tuple]:
        """Yields (images, labels) of `rows` of each global batch of `steps`; depends only on (seed, step)."""

        @functools.lru_cache(maxsize=2)  # batches on both sides of an epoch's end are prepared at the same time
        def order(epoch):
            generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
            return _draw_balanced(self.labels, generator) if self.balanced else generator.permutation(len(self.labels))

        def read(step):
            epoch, position = divmod(step, self.num_examples // batch_size)
            places = np.arange(position * batch_size, (position + 1) * batch_size)[rows]
            indices = order(epoch)[places]
            draw = (seed, epoch, places) if self.cropped else ()
            return self.images(indices, *draw), self.labels[indices]

        return read_ahead(steps, read)

    def in_order(self, batch_size: int, rows: slice) -> Iterator[tuple]:
        """Yields (images, labels) of `rows` of each global batch, in order; the last batches may be short or empty."""

        def read(start):
            indices = np.arange(start, min(start + batch_size, self.num_examples))[rows]
            return self.images(indices), self.labels[indices]

        return read_ahead(range(0, self.num_examples, batch_size), read)

    def sample(self) -> Iterator[np.ndarray]:
        """Yields images for statistics: all if in memory, else 10,000 to 20,000, evenly spaced."""
        stride = 1 if self.in_memory else max(1, self.num_examples // STATISTICS_EXAMPLES)
        indices = np.arange(0, self.num_examples, stride)
        for start in range(0, len(indices), 250):
            yield self.images(indices[start : start + 250])


def tested_fraction(own: set[str], dataset, whole: bool) -> float:
    """Returns the fraction of a dataset that becomes its test split: a fixed fifth if it is all training data, else 0.

    `own` has the names of its own splits, {''} if it has none. The fraction is also 0 if the dataset is taken `whole`,
    if `dataset.fold` is set, or if the only split is named train and `dataset.validation_fraction` is set.
    """
    is_alone = own == {''} or own == {'train'} and not dataset.validation_fraction
    return TEST_FRACTION if is_alone and not (whole or dataset.fold) else 0.0


def _draw_balanced(labels: np.ndarray, generator) -> np.ndarray:
    """Draws as many indices as there are labels, in random order, equally many of each class up to one.

    Within a class, all examples are drawn equally often, up to one draw.
    """
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    counts = np.full(len(classes), len(labels) // len(classes))
    counts[generator.permutation(len(classes))[: len(labels) % len(classes)]] += 1
    drawn = []
    for members, count in zip(classes, counts, strict=True):
        rounds = [generator.permutation(members) for _ in range(-(-count // len(members)))]
        drawn.append(np.concatenate(rounds)[:count])
    return generator.permutation(np.concatenate(drawn))


def _missing_classes(labels: np.ndarray, part: np.ndarray, class_names: tuple, what: str) -> Iterator[str]:
    """Yields a message for every class of `labels` without an example among the indices `part`."""
    for missing in np.setdiff1d(labels, labels[part]):
        count = np.sum(labels == missing)
        none = f'none of the {count} example(s) of class {class_names[missing]!r}'
        yield f'{none} is in the {what} split of {len(part)} examples'


@dataclasses.dataclass(frozen=True)
class Division:
    """Which examples of a dataset's own splits make up 'train', 'validation' and 'test'.

    Attributes:
      own_sizes: the dataset's own splits and their numbers of examples; splits with other names are ignored.
      validation_fraction: in [0, 1): the stratified part of the dataset's training split that becomes 'validation'.
      train_fraction: in (0, 1]: the stratified part of the remaining examples that stays 'train'.
      test_fraction: the stratified part of the dataset's training split that becomes 'test', before the others are
        cut; 0 if the dataset has its own test split.
      fold: (k, n), 1 ≤ k ≤ n: the k-th of n folds becomes 'validation' instead of `validation_fraction`; or None.
    """

    own_sizes: dict[str, int]
    validation_fraction: float
    train_fraction: float
    test_fraction: float = 0.0
    fold: tuple[int, int] | None = None

    @classmethod
    def of(cls, own_sizes: dict[str, int], dataset, test_fraction: float = 0.0) -> 'Division':
        """Returns the division that a config's `dataset` section describes."""
        fold = dataset.fold and _parse_fold(dataset.fold)
        return cls(own_sizes, dataset.validation_fraction, dataset.train_fraction, test_fraction, fold)

    def __post_init__(self):
        if (key := replaces_validation(self)) and 'validation' in self.own_sizes:
            raise InputError(
                f'dataset.{key} must not be set: this dataset already has a validation split '
                f'({self.own_sizes["validation"]} examples)'
            )
        for name, size in self.sizes.items():
            if size <= 0 and self.own_sizes.get('train'):
                fractions = f'validation_fraction={self.validation_fraction}, train_fraction={self.train_fraction}'
                remedy = (
                    'give a test split (test/, or a column split)' if name == 'test' else f'change {fractions} or fold'
                )
                raise InputError(
                    f'none of the {self.own_sizes["train"]} examples is left for {name!r}: add examples, or {remedy}'
                )

    @property
    def _tested(self) -> int:
        return round(self.own_sizes.get('train', 0) * self.test_fraction)

    @property
    def _held(self) -> int:
        untested = self.own_sizes.get('train', 0) - self._tested
        if self.fold:
            return len(range(self.fold[0] - 1, untested, self.fold[1]))
        return round(untested * self.validation_fraction)

    @property
    def sizes(self) -> dict[str, int]:
        """Maps 'train', 'validation' and 'test' to their numbers of examples, in this order."""
        sizes = dict(self.own_sizes)
        if 'train' in sizes:
            sizes['train'] = round((sizes['train'] - self._tested - self._held) * self.train_fraction)
            if self.fold or self.validation_fraction:
                sizes['validation'] = self._held
            if self.test_fraction:
                sizes['test'] = self._tested
        return {name: sizes[name] for name in ('train', 'validation', 'test') if name in sizes}

    def own_split(self, name: str) -> str:
        """Returns the dataset's own split from which the split `name` is cut."""
        is_cut = {'validation': self.fold or self.validation_fraction, 'test': self.test_fraction}.get(name)
        return 'train' if is_cut else name

    def members(
        self, name: str, labels: np.ndarray, class_names: tuple, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns the sorted indices of the split `name` in the dataset's own split, whose labels are `labels`.

        Groups of examples stay together; the sizes of the parts may then differ from `sizes`. Logs the classes without
        an example in a held-out part. Raises InputError when a class has no training example, or the groups are too few
        or too large to fill a part.
        """

        def hold_out(among, size, seed):
            if not len(among):
                raise InputError(f'the groups are too few or too large to leave a training split: {REMEDY}')
            kept, held = stratified_split(labels[among], size, seed, None if groups is None else groups[among])
            return among[kept], among[held]

        rest, tested = hold_out(np.arange(len(labels)), self._tested, TEST_SEED)
        if self.fold:
            number, count = self.fold
            is_held = divide_into_folds(labels[rest], count, None if groups is None else groups[rest]) == number - 1
            kept, held = rest[~is_held], rest[is_held]
        else:
            kept, held = hold_out(rest, self._held, VALIDATION_SEED)
        if name != 'train':
            part = held if name == 'validation' else tested
            if not len(part):
                raise InputError(f'the groups are too few or too large to hold out a {name} split: {REMEDY}')
            for line in _missing_classes(labels, part, class_names, name):
                log.warning('%s', line)
            return part
        kept, _ = hold_out(kept, len(kept) - round(len(kept) * self.train_fraction), TRAIN_SEED)
        for line in _missing_classes(labels, kept, class_names, 'training'):
            raise InputError(f'{line}: add examples, divide its group, or change the fractions')
        return kept


def _parse_fold(text: str) -> tuple[int, int]:
    numbers = re.fullmatch(r'(\d{1,9})/(\d{1,9})', text)
    number, count = map(int, numbers.groups()) if numbers else (0, 0)
    if not 1 <= number <= count >= 2:
        raise InputError(f'dataset.fold={shown(text)} must be K/N, the K-th of N folds, e.g. 1/5')
    return number, count
