"""The interface of all data sources: image size, class names, and splits to load."""

import collections
import dataclasses
import functools
import logging
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dsconv.data.splits import Division, Split
from dsconv.errors import InputError

SPELLED_DIGITS = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
FOLDER_PREFIX, TABLE_PREFIX = 'image_folder:', 'image_table:'
OR_ARCHIVE = ', or give the archive: --config.dataset.archive=cifar-10-binary.tar.gz'  # of CIFAR-10

logger = logging.getLogger('dsconv')


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset that is open but not decoded yet, except for pictures of a folder or a table.

    Attributes:
      image_size: height and width of every image of its splits.
      channels: 1 or 3.
      class_names: one name per label.
      flippable: False if the images are characters, whose mirror images are not the same characters.
      division: how 'train', 'validation' and 'test' are cut from the dataset's own splits.
      own: name of one of the dataset's own splits → `Split` (or `stream.StreamedSplit`); called once per name.
      table: () → a gzipped table of the pictures with their labels and splits, to open the same data again; None if
        the pictures are not separate files.
      crop_scale: least and largest share of the area that random crops for training take; None without crops.
      drawn: splits that were cut from the training pictures when a folder or a table was opened.
    """

    image_size: int
    channels: int
    class_names: tuple[str, ...]
    flippable: bool
    division: Division
    own: Callable[[str], Split]
    table: Callable[[], bytes] | None = None
    crop_scale: tuple[float, float] | None = None
    drawn: frozenset[str] = frozenset()

    def __post_init__(self):
        object.__setattr__(self, 'own', functools.cache(self.own))
        object.__setattr__(self, 'load', functools.cache(self.load))

    @property
    def split_sizes(self) -> dict[str, int]:
        """Maps each split to its number of examples after the division."""
        return self.division.sizes

    def load(self, name: str) -> Split:
        """Decodes or opens one split; returns the same object when called again.

        Raises: InputError when there is no such split, a class is too small to be divided, or the data is damaged.
        """
        if name not in self.split_sizes:
            hint = '; dataset.validation_fraction holds one out when training' if name == 'validation' else ''
            raise InputError(f'there is no split {name!r}: this dataset has {", ".join(self.split_sizes)}{hint}')
        split = self.own(self.division.own_split(name))
        if split.num_examples == self.split_sizes[name]:
            return split
        return split.subset(self.division.members(name, split.labels, self.class_names))

    def is_drawn(self, name: str) -> bool:
        """Returns whether a split is cut from the training images, so that it changes if their set or order changes."""
        return name in self.drawn or name != self.division.own_split(name)

    def final_split(self, name: str) -> str:
        """Returns the split to report: `name`, but 'validation' in place of a missing 'test' if it exists."""
        lacks_test = 'test' not in self.split_sizes and 'validation' in self.split_sizes
        return 'validation' if name == 'test' and lacks_test else name


def choose_class_names(names: tuple[str, ...], dataset) -> tuple[str, ...]:
    """Returns `dataset.class_names` if set, else the data's own names.

    Raises InputError if they are not valid, or give the name of one class to another.
    """
    chosen = _valid_class_names(names, dataset)
    _check_not_moved(chosen, names)
    return chosen


def _valid_class_names(names, dataset):
    if dataset.class_names is None:
        if len(set(names)) < len(names) or any(not name or '\0' in name for name in names):
            what = f'{dataset.name} has a class without a name, or two classes with one name'
            raise InputError(f'{what}: name all {len(names)} with --config.dataset.class_names=NAME,NAME,…')
        return tuple(names)
    if len(dataset.class_names) != len(names):
        raise InputError(
            f'dataset.class_names has {len(dataset.class_names)} names, but {dataset.name} has {len(names)} classes'
        )
    if repeated := [name for name, count in collections.Counter(dataset.class_names).items() if count > 1]:
        raise InputError(f'dataset.class_names has {repeated[0]} twice: give each class a different name')
    return tuple(dataset.class_names)


def folder_class_names(names: tuple[str, ...], labels: np.ndarray, dataset) -> tuple[tuple[str, ...], np.ndarray]:
    """Chooses names as `choose_class_names`, but reorders the labels if they are the names in another order.

    Returns: (class names, labels).
    """
    chosen = _valid_class_names(names, dataset)
    composed = [unicodedata.normalize('NFC', name) for name in chosen]
    if sorted(composed) == sorted(names):
        labels = np.array([composed.index(name) for name in names], np.int32)[labels]
    else:
        _check_not_moved(composed, names)
        renamed = ', '.join(f'{old} → {new}' for old, new in list(zip(names, chosen, strict=True))[:5])
        logger.info('%s: the classes are renamed: %s%s', dataset.name, renamed, ', …' if len(names) > 5 else '')
    return chosen, labels


def _check_not_moved(chosen, names):
    if moved := [new for new, old in zip(chosen, names, strict=True) if new != old and new in names]:
        raise InputError(
            f'dataset.class_names: {moved[0]} is the name of another class: give new names in the order of '
            f'{", ".join(names)}, or leave it unset'
        )


def are_characters(class_names: tuple[str, ...]) -> bool:
    """Returns whether every class is a character, judged by its name's last word: 'A', '7', 'letter_c', 'seven'."""
    last_words = [(re.findall(r'[^\W_]+', name) or [name])[-1] for name in class_names]
    return all(len(word) == 1 or word.lower() in SPELLED_DIGITS for word in last_words)


def fits_in_memory(num_images: int, image_size: int, channels: int, dataset) -> bool:
    """Returns whether `num_images` decoded images fit in `dataset.memory_gigabytes` (of 10⁹ bytes)."""
    return num_images * image_size**2 * channels <= dataset.memory_gigabytes * 1e9


def public_name(dataset_name: str) -> str:
    """Returns a `dataset.name` without local directories: 'image_folder:ants' for 'image_folder:/a/ants'."""
    kind, colon, path = dataset_name.partition(':')
    return f'{kind}:{Path(path).name}' if colon and kind.startswith('image_') else dataset_name
