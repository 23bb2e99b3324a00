"""Tables of levels against Pillow's ImageOps, for every range of levels and skewed histograms."""

import functools

import jax
import numpy as np
import pytest
from jax import lax
from PIL import Image, ImageOps

from dsconv.augment import tone
from dsconv.augment.lookup import GATHER, ONE_HOT

LEVELS = np.arange(256)


def compiled(kind, lookup=GATHER, batch_size=None):
    """(planes of some images, an amount for each) → planes, one after another or `batch_size` at once."""
    tone_map = functools.partial(tone.tone_map, lookup=lookup)
    index = tone.KINDS.index(kind)
    return jax.jit(lambda *jobs: lax.map(lambda job: tone_map(job[0], index, job[1]), jobs, batch_size=batch_size))


def by_pillow(function, planes):
    """An ImageOps function of planes, through a picture of one row."""
    picture = Image.fromarray(planes[0][None] if len(planes) == 1 else planes.T[None])
    return np.asarray(function(picture)).reshape(-1, len(planes)).T


@functools.cache
def stretched():
    """Every darkest level and brightest level above it, int `(32640, 1)` each, and Pillow's autocontrast tables."""
    darkest, brightest = (levels[:, None] for levels in np.triu_indices(256, 1))
    scale = 255.0 / (brightest - darkest)  # in its double precision
    return darkest, brightest, np.clip(np.trunc(LEVELS * scale - darkest * scale), 0, 255).astype(np.int32)


def test_autocontrast_stretches_every_range_as_pillow():
    *ranges, tables = stretched()
    planes = np.clip(LEVELS, *ranges).astype(np.uint8)
    for i in range(0, len(tables), 997):  # the tables themselves are Pillow's
        assert np.array_equal(by_pillow(ImageOps.autocontrast, planes[i : i + 1]), tables[i][planes[i : i + 1]])
    mapped = compiled('autocontrast', batch_size=255)(planes[:, None], np.zeros(len(planes), np.int32))
    assert np.array_equal(mapped[:, 0], np.take_along_axis(tables, planes.astype(int), axis=1))


def test_a_tpus_autocontrast_is_at_most_a_level_above_pillows():
    # The platform for which a program is compiled picks it, so on others it can only be called by its name.
    darkest, brightest, tables = stretched()
    in_integers = np.asarray(jax.jit(tone._stretched_in_integers)(darkest, brightest, 0))
    above = (in_integers - tables)[(darkest <= LEVELS) & (brightest >= LEVELS)]
    assert set(np.unique(above)) == {0, 1}
    assert np.mean(above) < 1 / 200


def skewed_planes(pixels):
    """Returns images of three channels, whose histograms are skewed, each channel's in its own way."""
    generator = np.random.default_rng(pixels)

    def draw():
        yield generator.integers(0, 256, pixels)
        for scale in (0.3, 10, 200):
            yield generator.exponential(scale, pixels)
            yield 255 - generator.exponential(scale, pixels)
        for most in (0.5, 0.99):
            yield np.where(generator.random(pixels) < most, 0, generator.integers(0, 256, pixels))
            yield np.where(generator.random(pixels) < most, 100, 101)
        # So many pixels are not of the brightest level: just below and at a step of one, and of two.
        for count in (0, 1, 254, 255, 509, 510):
            yield np.where(np.arange(pixels) < count, generator.integers(0, 200, pixels), 200)
        yield np.full(pixels, 255)

    planes = np.clip(list(draw()), 0, 255).astype(np.uint8)
    return np.stack([planes, np.roll(planes, 1, axis=0), np.roll(planes, 5, axis=0)], axis=1)


@pytest.mark.parametrize(('pixels', 'lookup'), [(64 * 80, GATHER), (32 * 32, ONE_HOT)], ids=['gather', 'one-hot'])
def test_equalize_equals_pillow_on_skewed_histograms(pixels, lookup):
    planes = skewed_planes(pixels)
    mapped = compiled('equalize', lookup)(planes, np.zeros(len(planes), np.int32))
    assert np.array_equal(mapped, [by_pillow(ImageOps.equalize, image) for image in planes])
