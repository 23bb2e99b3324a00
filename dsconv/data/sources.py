"""Name → a source: image size, class names, and splits to load. The way into this package."""

import dataclasses
import functools
import re
from collections.abc import Callable

from dsconv.data.splits import Division, Split
from dsconv.errors import InputError

SPELLED_DIGITS = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
FOLDER_PREFIX = 'image_folder:'


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset that has been found and looked at, but (pictures in a folder apart) not decoded yet.

    Attributes:
      image_size: height and width of every image that its splits yield.
      channels: 1 or 3.
      class_names: one name a label.
      flippable: False where the pictures are characters, whose mirror image is another one or none.
      division: how 'train', 'validation' and 'test' are cut out of the dataset's own splits.
      own: own split's name → `Split` (or `stream.StreamedSplit`); called once a name.
    """

    image_size: int
    channels: int
    class_names: tuple[str, ...]
    flippable: bool
    division: Division
    own: Callable[[str], Split]

    def __post_init__(self):
        object.__setattr__(self, 'own', functools.cache(self.own))

    @property
    def split_sizes(self) -> dict[str, int]:
        """Split's name → number of examples, after the validation and the training fraction."""
        return self.division.sizes

    def load(self, name: str) -> Split:
        """Decodes, or opens, one split.

        Raises: InputError when there is no such split, a class is too small to be divided, or the data is damaged.
        """
        if name not in self.split_sizes:
            hint = '' if name != 'validation' else ' (--config.dataset.validation_fraction=0.1 holds one out)'
            raise InputError(f'there is no split {name!r}: this dataset has {", ".join(self.split_sizes)}{hint}')
        split = self.own(self.division.own_split(name))
        if self.division.is_whole(name):
            return split
        return split.subset(self.division.members(name, split.labels, self.class_names))


def open_source(dataset, prepared: bool = True) -> Source:
    """Opens the dataset that a config's `dataset` section describes.

    Args:
      dataset: anything with the attributes `name` ('digits', 'image_folder:<path>', or a classification dataset of
        TensorFlow Datasets such as 'cifar10'), `data_dir`, `archive`, `validation_fraction`, `train_fraction`,
        `image_size`, `channels`, `class_names` and `memory_gigabytes`; see configs/common.py.
      prepared: False where the form of the images and the number of classes are enough: data of TensorFlow Datasets
        then need not be there, and `split_sizes` may be empty.

    Returns: a `Source`. Metadata alone is read, except of folders, whose pictures are all decoded once, so that
      broken ones are known before training, and of an archive, which is read whole.
    Raises: InputError when the dataset does not exist, is not prepared, damaged or not one of labelled images.
    """
    if dataset.channels not in (None, 1, 3):
        raise InputError(f'dataset.channels={dataset.channels} must be 1 or 3')
    if dataset.image_size is not None and dataset.image_size < 1:
        raise InputError(f'dataset.image_size={dataset.image_size} must be positive')
    if dataset.archive and dataset.name != 'cifar10':
        raise InputError(f'dataset.archive is for dataset.name=cifar10 alone, not {dataset.name!r}: leave it unset')
    if dataset.name.startswith(('/', '.', '~')):
        raise InputError(
            f'dataset.name={dataset.name} is a path: for the pictures in it say {FOLDER_PREFIX}{dataset.name}'
        )
    if dataset.name == FOLDER_PREFIX:
        raise InputError(f'dataset.name={FOLDER_PREFIX} needs the path of a folder: {FOLDER_PREFIX}PATH')
    if dataset.name == 'digits':
        from dsconv.data.digits import open_digits

        return open_digits(dataset)
    if dataset.name.startswith(FOLDER_PREFIX):
        from dsconv.data.image_folder import open_image_folder

        return open_image_folder(dataset.name.removeprefix(FOLDER_PREFIX), dataset)
    if dataset.archive:
        from dsconv.data.cifar_archive import open_cifar_archive

        return open_cifar_archive(dataset)
    from dsconv.data.tfds_source import open_tfds

    return open_tfds(dataset, prepared)


def choose_class_names(names: tuple[str, ...], dataset) -> tuple[str, ...]:
    """`dataset.class_names` where set, else the data's own. Raises InputError when their number is wrong."""
    if dataset.class_names is None:
        return tuple(names)
    if len(dataset.class_names) != len(names):
        raise InputError(
            f'dataset.class_names has {len(dataset.class_names)} names, but {dataset.name} has {len(names)} classes'
        )
    return tuple(dataset.class_names)


def are_characters(class_names: tuple[str, ...]) -> bool:
    """Whether every class is a character, judged by its name's last word: 'A', '7', 'letter_c', 'seven'."""
    last_words = [(re.findall(r'[^\W_]+', name) or [name])[-1] for name in class_names]
    return all(len(word) == 1 or word.lower() in SPELLED_DIGITS for word in last_words)


def fits_in_memory(num_images: int, image_size: int, channels: int, dataset) -> bool:
    """Whether so many decoded images stay within `dataset.memory_gigabytes` (of 10⁹ bytes)."""
    return num_images * image_size**2 * channels <= dataset.memory_gigabytes * 1e9
