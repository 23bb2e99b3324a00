"""The examples to score a network on: a split of its own data, or other data, with classes matched by name."""

import collections
import logging
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dsconv import data
from dsconv.config import defaults, override
from dsconv.errors import InputError
from dsconv.reporting.predictions import PredictionsFile

logger = logging.getLogger('dsconv')
OF_THE_RUN = ('image_size', 'channels', 'resize', 'data_dir', 'memory_gigabytes')  # other data is also read with these
OF_ITS_PLACE = ('data_dir', 'archive')  # the location of a run's own data
OF_PUBLIC = (*OF_ITS_PLACE, 'root')  # the same for a published network or an exported file, which hold no path
OF_OTHERS = (*OF_PUBLIC, 'image_key', 'label_key', 'split_key', 'group_key', 'splits', 'memory_gigabytes')


class Examples(NamedTuple):
    """A split, or an object with the same interface, and int32 `(N,)` labels, indices into the network's classes.

    `dataset` and `split` are names; `split` is 'all' for data taken whole. `indices` are the positions of the examples
    in other data as loaded, before unknown classes are dropped; None for a split of the run's own data.
    """

    dataset: str
    split: str
    images: object
    labels: np.ndarray
    indices: np.ndarray | None = None

    def for_report(self) -> dict:
        """Returns keyword arguments for `reporting.write_report`."""
        return {
            'dataset': self.dataset,
            'split': self.split,
            'data_fingerprint': data.fingerprint(self.images),
            'labels': self.labels,
            'mistake_images': self.images.images,
        }


def say_where(config, overrides: list[str], keys: tuple[str, ...]) -> None:
    """Applies `'dataset.key=value'` overrides of the command line; raises InputError for keys other than `keys`."""
    allowed = [f'dataset.{key}' for key in keys]
    for each in overrides:
        if each.partition('=')[0] not in allowed:
            raise InputError(f'--config.{each}: this command can set only {", ".join(allowed)}')
    override(config, overrides)


def own_examples(config, source: data.Source, split: str | None) -> Examples:
    """Returns a split of a run's own data: by default the test split, or validation if there is no test split.

    Warns if the network may have been trained on some of its images.
    """
    split = split or source.final_split('test')
    images = source.load(split)
    if fault := drawn_otherwise(config, source, split):
        logger.warning('%s: the network may have been trained on some of them', fault)
    return Examples(config.dataset.name, split, images, images.labels)


def drawn_otherwise(config, source: data.Source, split: str) -> str | None:
    """Returns a message if the split is drawn from the training images, but not as the run drew it; otherwise None."""
    if not source.is_drawn(split):
        return None
    known, train = config.dataset.train_fingerprint, source.load('train')
    if known is None or not train.in_memory or known == data.fingerprint(train):
        return None
    fault = f'the {split} images of {config.dataset.name} are not those that the run held out'
    return f'{fault} (the images are others, or have another order)'


def other_examples(config, name: str, split: str | None, where: list[str] = ()) -> Examples:
    """Opens other data, `name` as in `dataset.name`, for the network of the run of `config`; resizes images to fit it.

    `split` defaults to all of a folder, of a table or of data that has only a training split, otherwise to the test or
    else the validation split. Examples of classes that the network does not know are dropped; raises InputError if no
    class is known. `where` overrides the location of the data and how it is read, as in `say_where`.
    """
    other = defaults()
    other.dataset.update({'name': name, **{key: config.dataset[key] for key in OF_THE_RUN}})
    say_where(other, where, OF_OTHERS)
    source = data.open_source(other.dataset, whole=split is None)
    is_whole = split is None and set(source.split_sizes) == {'train'}
    split = split or next(part for part in ('test', 'validation', 'train') if part in source.split_sizes)
    images = source.load(split)
    numbers = match_classes(source.class_names, config.dataset.class_names)
    labels = numbers[images.labels]
    known = np.flatnonzero(labels >= 0)
    if not len(known):
        raise InputError(
            f'--dataset={name} has the classes {_listed(source.class_names)}, and the network '
            f'{_listed(config.dataset.class_names)}: none in common: rename the classes of the data'
        )
    if len(known) < len(labels):
        unknown = _listed([name for name, number in zip(source.class_names, numbers, strict=True) if number < 0])
        count = len(labels) - len(known)
        logger.warning('%s: left out %d examples of classes that the network does not know: %s', name, count, unknown)
        images, labels = images.subset(known), labels[known]
    return Examples(name, 'all' if is_whole else split, images, labels, known)


def write_predictions(output: Path, scored: Examples, class_names, log_probabilities: np.ndarray) -> None:
    """Writes `output/predictions.csv`: for each example its path (or else index), true class and prediction."""
    paths = scored.images.paths
    numbers = range(len(scored.labels)) if scored.indices is None else scored.indices.tolist()
    names = numbers if paths is None else paths
    first = ('index' if paths is None else 'path', 'truth')
    with PredictionsFile(output / 'predictions.csv', class_names, first) as file:
        for name, label, row in zip(names, scored.labels, np.exp(log_probabilities), strict=True):
            file.write([name, class_names[label]], row)


def match_classes(names, known) -> np.ndarray:
    """Returns the index in `known` of each name, or -1. Ignores upper and lower case if that is unambiguous."""
    composed = [unicodedata.normalize('NFC', name) for name in known]
    folded = collections.Counter(name.casefold() for name in composed)
    exact = {name: i for i, name in enumerate(composed)}
    by_letters = {name.casefold(): i for name, i in exact.items() if folded[name.casefold()] == 1}
    found = (unicodedata.normalize('NFC', name) for name in names)
    return np.array([exact.get(name, by_letters.get(name.casefold(), -1)) for name in found], np.int32)


def _listed(names) -> str:
    return ', '.join(names[:5]) + (f' and {len(names) - 5} more' if len(names) > 5 else '')
