"""Sources whose images come as arrays, from a package or an archive."""

from collections.abc import Callable

import numpy as np

from dsconv.data.picture import fit_array
from dsconv.data.source import Source, choose_class_names, fits_in_memory
from dsconv.data.splits import Division, Split
from dsconv.data.threads import map_threads


def array_source(
    splits: dict[str, tuple[np.ndarray, np.ndarray]], class_names: tuple[str, ...], flippable: bool, dataset
) -> Source:
    """Makes a source of arrays that are in memory.

    Args:
      splits: split's name → (images uint8 `(n, size, size, channels)`, labels `(n,)`).
      class_names: one a label.
      flippable: see `Source`.
      dataset: as for `open_source`. Other sizes and channels than the arrays' are made once when a split is loaded,
        or, where that exceeds `memory_gigabytes`, whenever an image is read.
    """
    shape = next(iter(splits.values()))[0].shape
    image_size, channels = dataset.image_size or shape[1], dataset.channels or shape[3]
    sizes = {name: len(labels) for name, (_, labels) in splits.items()}
    in_memory = (image_size, channels) == (shape[1], shape[3]) or fits_in_memory(
        sum(sizes.values()), image_size, channels, dataset
    )

    def own(name: str) -> Split:
        images, labels = splits[name]
        read = fitted_reader(images, image_size, channels, dataset.resize)
        return Split(
            labels.astype(np.int32), read(np.arange(len(images))).__getitem__ if in_memory else read, in_memory
        )

    return Source(
        image_size,
        channels,
        choose_class_names(class_names, dataset),
        flippable,
        Division.of(sizes, dataset),
        own,
    )


def fitted_reader(
    images: np.ndarray, image_size: int, channels: int, resize: str = 'squash'
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function: indices → images brought to uint8 `(n, image_size, image_size, channels)`."""
    if images.shape[1:] == (image_size, image_size, channels):
        return images.__getitem__

    def read(indices):
        fitted = np.empty((len(indices), image_size, image_size, channels), np.uint8)
        for row, image in enumerate(map_threads(lambda i: fit_array(images[i], image_size, channels, resize), indices)):
            fitted[row] = image
        return fitted

    return read
