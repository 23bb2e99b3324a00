"""Host-local batches of uint8 images from splits; a resumed run gets the same batches as an uninterrupted run."""

import hashlib
import itertools
from collections.abc import Iterator

import numpy as np

from dsconv.data.processes import ALONE, Processes
from dsconv.errors import InputError


def train_batches(
    split, *, batch_size: int, seed: int, start_step: int, num_steps: int, processes: Processes = ALONE
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields shuffled batches for the global steps `start_step` .. `num_steps - 1`.

    The batch of a step depends only on (seed, step), so a resumed run gets the same batches as an uninterrupted run.
    An epoch is `num_examples // batch_size` steps. Every epoch has a different order, and the examples left over at
    its end are dropped. Process p takes rows p·b to (p+1)·b of the global batch, b = batch_size / processes.count.

    Yields: (images uint8 `(b, image_size, image_size, channels)` 0..255, labels int32 `(b,)`).
    Raises: InputError when the split holds less than one batch.
    """
    if batch_size > split.num_examples:
        raise InputError(
            f'batch_size={batch_size} is more than the {split.num_examples} training examples there are: '
            f'make it smaller'
        )
    return split.shuffled(batch_size, seed, range(start_step, num_steps), processes.rows(batch_size))


def eval_batches(
    split, *, batch_size: int, processes: Processes = ALONE
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields every example once, in order, in `ceil(num_examples / batch_size)` batches on every process.

    Yields: (images uint8 `(b, image_size, image_size, channels)`, labels int32 `(b,)`, mask bool `(b,)`), with
      b = batch_size / processes.count; images and labels are zero where the mask is False, past the last example.
    """
    rows = processes.rows(batch_size)
    for images, labels in split.in_order(batch_size, rows):
        mask = np.arange(rows.stop - rows.start) < len(labels)
        missing = len(mask) - len(labels)
        yield np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0))), np.pad(labels, (0, missing)), mask


def channel_statistics(split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Computes the float64 mean and standard deviation of every channel, rounded to 6 decimals, of pixels in [0, 1].

    Uses all examples if they are in memory, otherwise a fixed sample of 10,000 to 20,000. A constant channel has the
    standard deviation 1, so that division by it is safe.

    Returns: two tuples of `channels` floats.
    """
    histogram = 0  # pixels at each of the 256 levels: exact for any number of pixels
    for images in split.sample():
        for few in np.array_split(images, 1 + images.nbytes // 2**22):  # bincount copies them to int64
            histogram += np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(few, -1, 0)])
    levels = np.arange(256) / 255
    share = histogram / histogram.sum(1, keepdims=True)
    mean = share @ levels
    std = np.sqrt((share * np.square(levels - mean[:, None])).sum(1))
    std = np.where(std < 1e-6, 1.0, std)
    return tuple(np.round(mean, 6).tolist()), tuple(np.round(std, 6).tolist())


def fingerprint(split) -> str:
    """Returns the SHA-256 of a split's examples, independent of their order: labels and pixels, decoded and resized.

    Each example is hashed separately, its label as little-endian int32 before its pixels. The result is the hash of
    the sorted digests. For data that is not in memory, only the number of examples and the pixels of the split's
    `sample` are hashed.

    Returns: 64 hexadecimal digits.
    """
    pixels = (image.tobytes() for images in split.sample() for image in images)
    if split.in_memory:
        examples = (label.tobytes() + image for label, image in zip(split.labels.astype('<i4'), pixels, strict=True))
    else:
        examples = itertools.chain([b'%d' % split.num_examples], pixels)
    digests = sorted(hashlib.sha256(example).digest() for example in examples)
    return hashlib.sha256(b''.join(digests)).hexdigest()
