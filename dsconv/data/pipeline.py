"""Splits → host-local batches of uint8 images, the same on a resumed run as on an uninterrupted one."""

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

    The batch of a step depends on (seed, step) alone, so a run resumed at any step sees what the uninterrupted one
    would have seen. An epoch is `num_examples // batch_size` steps, every epoch has an order of its own, and the
    examples left over at its end are dropped. Process p takes rows p·b to (p+1)·b of the global batch,
    b = batch_size / processes.count.

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
    """Computes mean and standard deviation of every channel, of pixels in [0, 1], in float64, rounded to 6 decimals.

    Taken from all examples in memory, else from 10,000 to 20,000 of them, always the same. A constant channel has the
    standard deviation 1, so that one can divide by it.

    Returns: two tuples of `channels` floats.
    """
    histogram = 0  # examples of each of the 256 levels: exact, whatever the number of pixels
    for images in split.sample():
        histogram += np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(images, -1, 0)])
    levels = np.arange(256) / 255
    share = histogram / histogram.sum(1, keepdims=True)
    mean = share @ levels
    std = np.sqrt((share * np.square(levels - mean[:, None])).sum(1))
    std = np.where(std < 1e-6, 1.0, std)
    return tuple(np.round(mean, 6).tolist()), tuple(np.round(std, 6).tolist())


def fingerprint(split) -> str:
    """Returns the SHA-256 of a split's examples, whatever their order: labels and pixels, as decoded and resized.

    Each example is hashed by itself, its label as little-endian int32 before its pixels; the result is the hash of the
    sorted digests. Of data that is not in memory, of the pixels of the split's `sample` and the number of examples.

    Returns: 64 hexadecimal digits.
    """
    pixels = (image.tobytes() for images in split.sample() for image in images)
    if split.in_memory:
        examples = (label.tobytes() + image for label, image in zip(split.labels.astype('<i4'), pixels, strict=True))
    else:
        examples = itertools.chain([b'%d' % split.num_examples], pixels)
    digests = sorted(hashlib.sha256(example).digest() for example in examples)
    return hashlib.sha256(b''.join(digests)).hexdigest()
