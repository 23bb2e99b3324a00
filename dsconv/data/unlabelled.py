"""Finds pictures to classify, given as files, folders or patterns, and computes class probabilities for them."""

import abc
import collections
import glob
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dsconv.data.listing import pictures_below
from dsconv.data.picture import fit, fit_array, picture_header, read_picture
from dsconv.data.threads import attempt, map_threads
from dsconv.errors import InputError
from dsconv.files import is_directory, is_file, is_remote, to_path

BATCH_SIZE = 64  # pictures; two batches are in memory at a time


def find_pictures(given: list[Path]) -> list[str]:
    """Returns the paths of pictures, in the order of `given`; those from a folder or a pattern are sorted.

    Args:
      given: files, which may be missing or of any type; folders, which are searched at any depth for files with a
        picture's extension, and for pictures without an extension; patterns such as `pictures/**/*.png`, unless a file
        has that name. An item without any picture is returned itself, so that reading it raises the error.
    """
    return [path for each in given for path in _found(to_path(each)) or [str(each)]]


def _found(path: Path) -> list[str]:
    if is_directory(path):
        return sorted(filter(_may_be_picture, pictures_below(path, (), collections.Counter())))
    if not glob.has_magic(str(path)) or is_file(path):
        return [str(path)]
    if is_remote(path):
        bucket, _, pattern = str(path).removeprefix('gs://').partition('/')
        if '**' in pattern:
            raise InputError(f'{path}: ** is for local paths only: give the folder, which is read at any depth')
        found = map(str, to_path(f'gs://{bucket}').glob(pattern))
    else:
        found = glob.glob(str(path), recursive=True)
    return [file for file in sorted(found) if not is_directory(to_path(file))]


def _may_be_picture(path: str) -> bool:
    """Returns False for a file such as README, which training ignores, too: no extension, and not a picture."""
    return '.' in os.path.basename(path) or not isinstance(attempt(picture_header, path), InputError)


class Network(abc.ABC):
    """A trained network: it takes uint8 pictures of any size and returns a probability for each class.

    Attributes:
      class_names: one per column of the result.
      image_size, channels: of the images that `run` takes; other pictures are converted to them.
      resize: how a picture that is not square is resized, as `dataset.resize`.
    """

    class_names: tuple[str, ...]
    image_size: int
    channels: int
    resize: str

    @abc.abstractmethod
    def run(self, images: np.ndarray) -> np.ndarray:
        """Returns float32 `(n, classes)` probabilities of uint8 `(n, image_size, image_size, channels)` images."""

    def __call__(self, images) -> np.ndarray:
        """Classifies pictures.

        Args:
          images: uint8 `(N, height, width, channels)`, with 1, 3 or (transparent) 4 channels; or a picture, or a list
            of pictures of any sizes: arrays `(height, width, channels)` or grey `(height, width)`, PIL images or paths.
            They are resized and converted as the training pictures were.

        Returns:
          float32 `(N, classes)`, the probabilities.

        Raises:
          InputError: a picture cannot be read, or is not uint8.
        """
        if isinstance(images, (str, os.PathLike, Image.Image)) or getattr(images, 'ndim', 4) < 4:
            images = [images]
        rows = [np.empty((0, len(self.class_names)), np.float32)]
        for _, row in answers(self, images):
            if isinstance(row, InputError):
                raise row
            rows.append(row[None])
        return np.concatenate(rows)


def answers(network: Network, pictures: Sequence) -> Iterator[tuple]:
    """Classifies pictures in batches, in constant memory; reads the next batch while the network runs.

    Args:
      network: its `run` is called with at most `BATCH_SIZE` images.
      pictures: a sequence of pictures as in `Network.__call__`.

    Yields: (picture, float32 probabilities `(classes,)`), in order. For a picture that cannot be read, the InputError
      takes the place of the probabilities.
    """

    def read(picture):
        return attempt(_to_image, picture, network.image_size, network.channels, network.resize)

    following = map_threads(read, pictures[:BATCH_SIZE])
    for start in range(0, len(pictures), BATCH_SIZE):
        images = list(following)
        following = map_threads(read, pictures[start + BATCH_SIZE : start + 2 * BATCH_SIZE])
        readable = [image for image in images if not isinstance(image, InputError)]
        rows = iter(network.run(np.stack(readable)) if readable else ())
        for picture, image in zip(pictures[start : start + BATCH_SIZE], images, strict=True):
            yield picture, image if isinstance(image, InputError) else next(rows)


def _to_image(picture, image_size, channels, resize):
    if isinstance(picture, (str, os.PathLike)):
        return read_picture(picture, image_size, channels, resize)
    if isinstance(picture, Image.Image):
        try:
            with vars(picture).setdefault('_dsconv_lock', threading.Lock()):  # two threads may get the same image
                return fit(picture, image_size, channels, resize)
        except InputError as error:
            raise InputError(f'{getattr(picture, "filename", "") or "a picture"}: {error}') from error
    array = np.asarray(picture)
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or not array.size:
        raise InputError(
            f'a picture must be uint8 (height, width, channels) with 1, 3 or 4 channels, 0 to 255; this one is '
            f'{array.dtype} {array.shape}'
        )
    return fit_array(array, image_size, channels, resize)
