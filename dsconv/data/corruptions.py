"""Common corruptions, applied while a split is read, to test a network that was not trained on them.

The module has eight of the corruptions of CIFAR-10-C, with their five severities: Hendrycks & Dietterich,
'Benchmarking Neural Network Robustness to Common Corruptions and Perturbations', 2019 (arXiv:1903.12261). The blur,
which the paper gives in pixels of a 32-pixel image, is scaled to the image size. Results are rounded to 256 levels.
"""

import dataclasses
import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from dsconv.data.picture import from_array
from dsconv.data.threads import map_images

SEVERITIES = (1, 2, 3, 4, 5)
# The 15 corruptions of the published CIFAR-10-C, with their config names in TensorFlow Datasets' cifar10_corrupted.
CIFAR10_C = (
    'gaussian_noise', 'shot_noise', 'impulse_noise', 'defocus_blur', 'frosted_glass_blur', 'motion_blur', 'zoom_blur',
    'snow', 'frost', 'fog', 'brightness', 'contrast', 'elastic', 'pixelate', 'jpeg_compression',
)  # fmt: skip


def corrupt(images: np.ndarray, name: str, severity: int, seed: int = 0, first: int = 0) -> np.ndarray:
    """Corrupts images.

    Args:
      images: uint8 `(n, height, width, 1 or 3)`; the result has the same shape and dtype.
      name, severity: one of `CORRUPTIONS`, and 1 to 5.
      seed: the noise of an image depends only on the seed, the corruption, the severity and the image's index.
      first: index of `images[0]` in its split.
    """
    function, levels = CORRUPTIONS[name]
    kind, level = list(CORRUPTIONS).index(name), levels[severity - 1]

    def corrupt_one(position):
        rng = np.random.default_rng([seed, kind, severity, first + position])
        damaged = function(images[position], level, rng)
        return damaged if damaged.dtype == np.uint8 else np.uint8(np.rint(255 * np.clip(damaged, 0, 1)))

    return map_images(corrupt_one, images.shape[1:], range(len(images)))


@dataclasses.dataclass(frozen=True)
class CorruptedSplit:
    """A split for evaluation with one corruption applied; see `corrupt`."""

    split: object
    name: str
    severity: int
    seed: int

    @property
    def num_examples(self) -> int:
        return self.split.num_examples

    def in_order(self, batch_size: int, rows: slice) -> Iterator[tuple]:
        """Yields batches as `Split.in_order` does, corrupted."""
        for number, (images, labels) in enumerate(self.split.in_order(batch_size, rows)):
            first = (rows.start or 0) + number * batch_size
            yield corrupt(images, self.name, self.severity, self.seed, first), labels


def _gaussian_noise(image, deviation, rng):
    return image / 255 + rng.normal(scale=deviation, size=image.shape)


def _shot_noise(image, photons, rng):
    """Draws photon counts from a Poisson distribution; white has a mean of `photons`."""
    return rng.poisson(image / 255 * photons) / photons


def _impulse_noise(image, share, rng):
    """Sets a share of the values to black or white, independently in each channel."""
    hit, salt = rng.random((2, *image.shape))
    return np.where(hit < share, np.where(salt < 0.5, np.uint8(0), np.uint8(255)), image)


def _gaussian_blur(image, deviation, rng):
    from scipy.ndimage import gaussian_filter

    deviation *= image.shape[0] / 32
    return gaussian_filter(image / 255, (deviation, deviation, 0), mode='nearest')


def _contrast(image, factor, rng):
    image = image / 255
    mean = image.mean(axis=(0, 1))
    return mean + factor * (image - mean)


def _brightness(image, added, rng):
    """Adds to V of HSV by scaling all channels by one factor, which keeps H and S. Black, without hue, becomes grey."""
    image = image / 255
    value = image.max(axis=2, keepdims=True)
    brighter = np.minimum(value + added, 1)
    return np.where(value > 0, image * (brighter / np.where(value > 0, value, 1)), brighter)


def _jpeg(image, quality, rng):
    file = io.BytesIO()
    from_array(image).save(file, 'JPEG', quality=quality)
    return np.asarray(Image.open(file)).reshape(image.shape)


def _pixelate(image, share, rng):
    height, width, _ = image.shape
    small = from_array(image).resize((max(1, int(share * width)), max(1, int(share * height))), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BOX)).reshape(image.shape)


# name → (function (uint8 image, level, generator) → uint8 image, or floats clipped to [0, 1]; level of each severity)
CORRUPTIONS: dict[str, tuple[Callable, tuple]] = {
    'gaussian_noise': (_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    'shot_noise': (_shot_noise, (500, 250, 100, 75, 50)),
    'impulse_noise': (_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    'gaussian_blur': (_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),
    'contrast': (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    'brightness': (_brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    'jpeg': (_jpeg, (80, 65, 58, 50, 40)),
    'pixelate': (_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
}
