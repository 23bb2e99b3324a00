"""The operations as Pillow does them, and images to do them to."""

import functools
from fractions import Fraction

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from benchmarks.augment import pillow_peer

STEPS = 90  # of a magnitude
SIGNED = pillow_peer.SIGNED


def to_picture(image):
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def to_image(picture):
    return np.asarray(picture).reshape(picture.height, picture.width, -1)


def operate(name, picture, step, sign, fill):
    """Does one operation of the AutoAugment paper at `step / 90` of its range."""
    width, height = picture.size
    return pillow_peer.operations(height, width, fill)[name](picture, sign * Fraction(step, STEPS))


@functools.cache
def images(height, width, channels):
    """Returns photographs, whole and in detail, noise, patterns and constant images, 16 in all: uint8."""
    generator = np.random.default_rng(height * width)
    shape = height, width, channels
    return np.stack(
        [
            *_photographs(height, width, channels),
            generator.integers(0, 256, shape),
            generator.integers(100, 140, shape),
            np.clip(generator.normal(120, 40, shape), 0, 255),
            np.clip(generator.exponential(15, shape), 0, 255),
            255 - 255 * (generator.random(shape) < 0.1),
            generator.choice([3, 250], shape),
            np.arange(height * width * channels).reshape(shape) * 5 % 256,
            np.where(np.arange(height * width * channels).reshape(shape), 90, 200),
            # Of an even number of pixels: a mean of 126.5, which is rounded up.
            np.broadcast_to(253 * (np.indices((height, width)).sum(0) % 2)[..., None], shape),
            *(np.full(shape, level) for level in (0, 7, 255)),
        ]
    ).astype(np.uint8)


def _photographs(height, width, channels):
    for name, left, top in (('china.jpg', 200, 150), ('flower.jpg', 300, 180)):
        photograph = Image.fromarray(load_sample_image(name)).convert('L' if channels == 1 else 'RGB')
        yield to_image(photograph.resize((width, height)))
        yield to_image(photograph.crop((left, top, left + width, top + height)))
