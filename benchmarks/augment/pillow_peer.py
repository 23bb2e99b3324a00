"""The default policy in Pillow, image by image; NumPy draws random numbers, crops, flips and mixes."""

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.process import random_batch
from dsconv.augment.operations import RANDAUGMENT_OPERATIONS
from dsconv.augment.policies import AUTOAUGMENT

SIGNED = ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY')


def operations(height: int, width: int, fill: int) -> dict:
    """Returns name → function (image of this size, magnitude); the magnitude is a fraction of the paper's range.

    It is 0 to 1, or −1 to 1 for the operations in `SIGNED`.
    """

    def colour(image):
        return (fill,) * len(image.getbands())

    def affine(image, *coefficients):
        return image.transform(image.size, Image.Transform.AFFINE, coefficients, fillcolor=colour(image))

    def enhanced(enhancer):
        return lambda image, m: enhancer(image).enhance(0.1 + 1.8 * m)

    return {
        'Identity': lambda image, m: image,
        'AutoContrast': lambda image, m: ImageOps.autocontrast(image),
        'Equalize': lambda image, m: ImageOps.equalize(image),
        'Rotate': lambda image, m: image.rotate(30 * m, fillcolor=colour(image)),
        'Solarize': lambda image, m: ImageOps.solarize(image, 256 - int(256 * m)),
        'Color': enhanced(ImageEnhance.Color),
        'Posterize': lambda image, m: ImageOps.posterize(image, 8 - round(4 * m)),
        'Contrast': enhanced(ImageEnhance.Contrast),
        'Brightness': enhanced(ImageEnhance.Brightness),
        'Sharpness': enhanced(ImageEnhance.Sharpness),
        'ShearX': lambda image, m: affine(image, 1, 0.3 * m, 0, 0, 1, 0),
        'ShearY': lambda image, m: affine(image, 1, 0, 0, 0.3 * m, 1, 0),
        'TranslateX': lambda image, m: affine(image, 1, 0, int(10 * m * width / 32), 0, 1, 0),
        'TranslateY': lambda image, m: affine(image, 1, 0, 0, 0, 1, int(10 * m * height / 32)),
        'Invert': lambda image, m: ImageOps.invert(image),
    }


def draw(random, batch: int, settings) -> list[list]:
    """Draws each image's operations: names and magnitudes."""
    by_randaugment = random.integers(2, size=batch)
    signs = random.choice((-1, 1), (batch, max(settings['randaugment_layers'], 2)))
    names = random.choice(RANDAUGMENT_OPERATIONS, (batch, settings['randaugment_layers']))
    policies = random.integers(len(AUTOAUGMENT), size=batch)
    chances = random.random((batch, 2))
    drawn = []
    for i in range(batch):
        if by_randaugment[i]:
            chosen = [(name, settings['randaugment_magnitude'] / 10) for name in names[i]]
        else:
            steps = zip(AUTOAUGMENT[policies[i]], chances[i], strict=True)
            chosen = [(name, level / 9) for (name, probability, level), chance in steps if chance < probability]
        pairs = zip(chosen, signs[i], strict=False)
        drawn.append([(name, m * sign if name in SIGNED else m) for (name, m), sign in pairs])
    return drawn


def mix(random, images, soft_labels, settings):
    """Mixes each image with the previous image by MixUp or CutMix, with one draw for the batch."""
    if random.random() >= settings['mix_probability']:
        return images, soft_labels
    others = np.roll(images, 1, axis=0)
    if random.random() < settings['cutmix_probability']:
        height, width = images.shape[1:3]
        half = np.sqrt(1 - random.beta(settings['cutmix_alpha'], settings['cutmix_alpha'])) / 2
        row, column = random.integers(height), random.integers(width)
        top, left = max(int(row - half * height), 0), max(int(column - half * width), 0)
        bottom, right = min(int(row + half * height), height), min(int(column + half * width), width)
        images[:, top:bottom, left:right] = others[:, top:bottom, left:right]
        kept = 1 - (bottom - top) * (right - left) / (height * width)
    else:
        kept = random.beta(settings['mixup_alpha'], settings['mixup_alpha'])
        images = np.round(np.float32(kept) * images + np.float32(1 - kept) * others).astype(np.uint8)
    return images, kept * soft_labels + (1 - kept) * np.roll(soft_labels, 1, axis=0)


def prepare(task: dict) -> dict:
    """Returns the function that augments and returns a batch."""
    settings, random = task['augment'], np.random.default_rng(0)
    images, labels = random_batch(task)
    batch, size, pad = len(images), images.shape[1], settings['crop_padding']
    operation, soft_labels = operations(size, size, settings['fill']), np.eye(task['classes'], dtype=np.float32)

    def run():
        padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        corners, mirrored = random.integers(2 * pad + 1, size=(batch, 2)), random.integers(2, size=batch)
        augmented = np.empty_like(images)
        for i, chosen in enumerate(draw(random, batch, settings)):
            row, column = corners[i]
            pixels = padded[i, row : row + size, column : column + size]
            pixels = pixels[:, ::-1] if mirrored[i] else pixels
            if chosen:
                image = Image.fromarray(pixels)
                for name, magnitude in chosen:
                    image = operation[name](image, magnitude)
                pixels = np.asarray(image)
            augmented[i] = pixels
        return mix(random, augmented, soft_labels[labels], settings)

    return {'augment': run}
