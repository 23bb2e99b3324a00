"""A trained network that answers: uint8 pictures of any size in, a probability for each class out."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dsconv import config as configuration
from dsconv.config_checks import check_resolved
from dsconv.data.picture import fit, fit_array, read_picture
from dsconv.data.threads import attempt, map_threads
from dsconv.errors import InputError
from dsconv.reporting.scores import with_temperature
from dsconv.training.calibration import read_temperature
from dsconv.training.mesh import make_mesh, to_global
from dsconv.training.scoring import restore_network
from dsconv.training.step import make_forward

BATCH_SIZE = 64  # pictures; two batches of them are in memory at a time
GROWTH = 8  # batches are filled up to 1, 8 or 64 pictures, since the network is compiled anew for each size


class Classifier:
    """The network of a run, or a published one, on all devices.

    Attributes:
      class_names: one a column of the answers.
      image_size, channels: of the images that the network takes; whatever else is brought to that.
      resize: what becomes of a picture that is not square, as `dataset.resize`.
      step: of the checkpoint.
      temperature: by which its logits are divided; 1 where none was fitted.
    """

    def __init__(self, workdir: str | Path, which: str | None = None):
        """Restores a checkpoint: 'latest', 'best', a step, or None, as for `restore_network`.

        Raises:
          InputError: there is no run in `workdir`, or no such checkpoint.
        """
        workdir = configuration.find_workdir(workdir)
        config = configuration.load_run(workdir)
        check_resolved(config)
        network, self._variables, self.step = restore_network(workdir, config, which)
        found = read_temperature(workdir, self.step)
        self.temperature = found['temperature'] if found else 1.0
        self._mesh = make_mesh()
        self._forward = make_forward(config, network, self._mesh)
        self.class_names = tuple(config.dataset.class_names)
        self.image_size, self.channels = config.dataset.image_size, config.dataset.channels
        self.resize = config.dataset.resize

    def __call__(self, images) -> np.ndarray:
        """Classifies pictures.

        Args:
          images: uint8 `(N, height, width, channels)` or `(height, width, channels)`, with 1, 3 or (transparent) 4
            channels; or a list of such pictures, of grey ones `(height, width)`, of PIL's and of paths, each of its own
            size. They are brought to the size that the network takes as its training pictures were.

        Returns:
          float32 `(N, classes)`, the probabilities.

        Raises:
          InputError: a picture cannot be read, or is not uint8.
        """
        if _is_one(images):
            images = [images]
        size = (self.image_size, self.image_size, self.channels)
        is_ready = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.shape[1:] == size
        if is_ready and len(images) <= BATCH_SIZE:
            return self._classify(images)
        rows = [np.empty((0, len(self.class_names)), np.float32)]
        for _, row in answers(self, images):
            if isinstance(row, InputError):
                raise row
            rows.append(row[None])
        return np.concatenate(rows)

    def _classify(self, images):
        size = self._mesh.size
        while size < len(images):
            size *= GROWTH
        padded = np.zeros((size, *images.shape[1:]), np.uint8)
        padded[: len(images)] = images
        rows = np.asarray(self._forward(self._variables, to_global(self._mesh, padded)))[: len(images)]
        return np.exp(with_temperature(rows, self.temperature)).astype(np.float32)


def answers(network, pictures: Sequence) -> Iterator[tuple]:
    """Classifies pictures in batches, in memory that does not grow with them: the next ones are read meanwhile.

    Args:
      network: a `Classifier`, or whatever else has its `image_size`, `channels` and `resize` and, called with uint8
        images `(N, image_size, image_size, channels)` of at most `BATCH_SIZE`, returns probabilities `(N, classes)`.
      pictures: as `Classifier.__call__` takes them.

    Yields: (picture, float32 probabilities `(classes,)`), in order; the InputError in place of the probabilities of a
      picture that cannot be read.
    """
    for some, images in _read_batches(pictures, network.image_size, network.channels, network.resize):
        readable = [image for image in images if not isinstance(image, InputError)]
        rows = iter(network(np.stack(readable)) if readable else ())
        for picture, image in zip(some, images, strict=True):
            yield picture, image if isinstance(image, InputError) else next(rows)


def _read_batches(pictures, image_size, channels, resize):
    read = attempt(lambda picture: _to_image(picture, image_size, channels, resize))
    following = map_threads(read, pictures[:BATCH_SIZE])
    for start in range(0, len(pictures), BATCH_SIZE):
        images = list(following)
        following = map_threads(read, pictures[start + BATCH_SIZE : start + 2 * BATCH_SIZE])
        yield pictures[start : start + BATCH_SIZE], images


def _to_image(picture, image_size, channels, resize):
    if isinstance(picture, (str, os.PathLike)):
        return read_picture(picture, image_size, channels, resize)
    if isinstance(picture, Image.Image):
        return fit(picture, image_size, channels, resize)
    array = np.asarray(picture)
    array = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or not array.size:
        raise InputError(
            f'a picture must be uint8 (height, width, channels) with 1, 3 or 4 channels, 0 to 255; this one is '
            f'{array.dtype} {array.shape}'
        )
    return fit_array(array, image_size, channels, resize)


def _is_one(images) -> bool:
    """Whether this is a picture and not several."""
    return isinstance(images, (str, os.PathLike, Image.Image)) or getattr(images, 'ndim', 4) < 4
