"""The operations as Pillow does them, and images to do them to."""

import functools
from fractions import Fraction

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_image

STEPS = 90  # of a magnitude
SIGNED = ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY')


def to_picture(image):
    """uint8 `(height, width, channels)` → Pillow's."""
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def to_image(picture):
    """The way back."""
    return np.asarray(picture).reshape(picture.height, picture.width, -1)


def to_planes(image):
    return np.ascontiguousarray(image.transpose(2, 0, 1)).reshape(image.shape[2], -1)


def operate(name, picture, step, sign, centre, fill):
    """One operation of the AutoAugment paper at `step / 90` of its range."""
    width, height = picture.size
    m = step / STEPS
    colour = (fill,) * len(picture.getbands())

    def towards(enhancer):
        return enhancer(picture).enhance(0.1 + 1.8 * m)

    def affine(*matrix):
        return picture.transform(
            picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=colour
        )

    def pixels(side):  # cut, not rounded, as the authors do
        return sign * int(Fraction(10 * step, 32 * STEPS) * side)

    def cut_out():
        side = round(Fraction(20 * step, 32 * STEPS) * min(height, width))
        top, left = centre[0] - side // 2, centre[1] - side // 2
        copy = picture.copy()
        if side:
            ImageDraw.Draw(copy).rectangle((left, top, left + side - 1, top + side - 1), fill=colour)
        return copy

    operations = {
        'Identity': lambda: picture,
        'AutoContrast': lambda: ImageOps.autocontrast(picture),
        'Equalize': lambda: ImageOps.equalize(picture),
        'Rotate': lambda: picture.rotate(sign * 30 * m, Image.Resampling.NEAREST, fillcolor=colour),
        'Solarize': lambda: ImageOps.solarize(picture, 256 - int(256 * m)),
        'Color': lambda: towards(ImageEnhance.Color),
        'Posterize': lambda: ImageOps.posterize(picture, 8 - round(4 * m)),
        'Contrast': lambda: towards(ImageEnhance.Contrast),
        'Brightness': lambda: towards(ImageEnhance.Brightness),
        'Sharpness': lambda: towards(ImageEnhance.Sharpness),
        'ShearX': lambda: affine(1, sign * 0.3 * m, 0, 0, 1, 0),
        'ShearY': lambda: affine(1, 0, 0, sign * 0.3 * m, 1, 0),
        'TranslateX': lambda: affine(1, 0, pixels(width), 0, 1, 0),
        'TranslateY': lambda: affine(1, 0, 0, 0, 1, pixels(height)),
        'Invert': lambda: ImageOps.invert(picture),
        'Cutout': cut_out,
    }
    return operations[name]()


@functools.cache
def images(height, width, channels):
    """Photographs, whole and in detail, noise, patterns and constant images, 16 in all: uint8 `(16, height, width,
    channels)`.
    """
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
            np.broadcast_to(255 * (np.indices((height, width)).sum(0) % 2)[..., None], shape),
            *(np.full(shape, level) for level in (0, 7, 255)),
        ]
    ).astype(np.uint8)


def _photographs(height, width, channels):
    for name, left, top in (('china.jpg', 200, 150), ('flower.jpg', 300, 180)):
        photograph = Image.fromarray(load_sample_image(name)).convert('L' if channels == 1 else 'RGB')
        yield to_image(photograph.resize((width, height)))
        yield to_image(photograph.crop((left, top, left + width, top + height)))
