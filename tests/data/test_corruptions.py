"""Corruptions against Pillow, SciPy, colorsys and the statistics of their noise."""

import colorsys
import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from dsconv.data.corruptions import CORRUPTIONS, SEVERITIES, CorruptedSplit, corrupt
from dsconv.data.splits import Split

NOISES = ('gaussian_noise', 'shot_noise', 'impulse_noise')


def pictures(count=6, size=32, channels=3):
    """Smooth ones, as photographs are."""
    noise = np.random.default_rng(0).normal(size=(count, size, size, channels))
    smooth = ndimage.gaussian_filter(noise, (0, 4, 4, 0))
    return np.uint8(np.clip(128 + 60 * smooth / smooth.std(), 0, 255))


def grey(level, size=64):
    return np.full((8, size, size, 3), level, np.uint8)


@pytest.mark.parametrize('name', CORRUPTIONS)
@pytest.mark.parametrize('channels', [1, 3])
def test_damage_grows_with_severity(name, channels):
    images = pictures(channels=channels)
    errors = []
    for severity in SEVERITIES:
        damaged = corrupt(images, name, severity)
        assert (damaged.shape, damaged.dtype) == (images.shape, np.uint8)
        errors.append(np.square(damaged.astype(float) - images).mean())
    assert errors[0] > 0
    assert errors == sorted(errors)


@pytest.mark.parametrize(('severity', 'deviation'), [(1, 0.04), (5, 0.10)])
def test_gaussian_noise_has_its_deviation(severity, deviation):
    noise = corrupt(grey(128), 'gaussian_noise', severity) / 255
    assert noise.std() == pytest.approx(deviation, rel=0.02)
    assert noise.mean() == pytest.approx(128 / 255, abs=0.002)


@pytest.mark.parametrize(('severity', 'photons'), [(1, 500), (5, 50)])
def test_shot_noise_grows_with_the_square_root_of_light(severity, photons):
    for level in (40, 100):
        noise = corrupt(grey(level), 'shot_noise', severity) / 255
        assert noise.mean() == pytest.approx(level / 255, abs=0.002)
        assert noise.var() == pytest.approx(level / 255 / photons, rel=0.05)


def test_impulse_noise_is_salt_and_pepper():
    damaged = corrupt(grey(100), 'impulse_noise', 5)
    assert set(np.unique(damaged)) == {0, 100, 255}
    assert (damaged == 0).mean() == pytest.approx(0.035, rel=0.1)
    assert (damaged == 255).mean() == pytest.approx(0.035, rel=0.1)
    assert (damaged != 100).any(axis=3).mean() > 2 * 0.07  # every channel by itself


@pytest.mark.parametrize(('size', 'deviation'), [(32, 0.7), (64, 1.4)])
def test_blur_is_a_convolution_with_a_gaussian_that_grows_with_the_image(size, deviation):
    image = pictures(1, size)
    offsets = np.arange(-8, 9)
    kernel = np.exp(-(offsets**2) / (2 * deviation**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    for channel in range(3):
        expected = ndimage.convolve(image[0, ..., channel].astype(float), kernel, mode='nearest')
        np.testing.assert_allclose(corrupt(image, 'gaussian_blur', 3)[0, ..., channel], expected, atol=0.6)


def test_contrast_shrinks_the_distance_from_the_mean():
    images = pictures() // 2 + 60  # nothing is clipped
    damaged = corrupt(images, 'contrast', 4).astype(float)
    means = images.mean(axis=(1, 2))
    np.testing.assert_allclose(damaged.mean(axis=(1, 2)), means, atol=0.1)
    np.testing.assert_allclose(damaged.std(axis=(1, 2)), 0.3 * images.std(axis=(1, 2)), atol=0.2)


def test_brightness_is_added_to_the_value_of_hsv():
    image = np.random.default_rng(1).integers(0, 256, (1, 12, 12, 3), np.uint8)
    image[0, 0, 0] = 0
    damaged = corrupt(image, 'brightness', 5)
    for before, after in zip(image.reshape(-1, 3), damaged.reshape(-1, 3)):
        hue, saturation, value = colorsys.rgb_to_hsv(*before / 255)
        expected = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.3, 1))
        np.testing.assert_allclose(after, 255 * np.array(expected), atol=0.501)


@pytest.mark.parametrize('mode', ['L', 'RGB'])
def test_jpeg_and_pixelate_are_pillows(mode):
    images = pictures(channels=len(mode))
    for damaged, image in zip(corrupt(images, 'jpeg', 5), images):
        file = io.BytesIO()
        Image.fromarray(np.squeeze(image)).save(file, 'JPEG', quality=40)
        np.testing.assert_array_equal(np.squeeze(damaged), np.asarray(Image.open(file)))
    for damaged, image in zip(corrupt(images, 'pixelate', 5), images):
        small = Image.fromarray(np.squeeze(image)).resize((20, 20), Image.Resampling.BOX)
        np.testing.assert_array_equal(np.squeeze(damaged), np.asarray(small.resize((32, 32), Image.Resampling.BOX)))


@pytest.mark.parametrize('name', NOISES)
def test_an_images_noise_is_its_own(name):
    images = np.repeat(pictures(1, 16), 6, axis=0)
    whole = corrupt(images, name, 3, seed=7)
    np.testing.assert_array_equal(np.concatenate([whole[:2], corrupt(images[2:], name, 3, 7, first=2)]), whole)
    assert len(np.unique(whole.reshape(6, -1), axis=0)) == 6
    assert (corrupt(images, name, 3, seed=8) != whole).any()


@pytest.mark.parametrize('batch_size', [1, 4, 6, 100])
def test_a_corrupted_split_is_the_same_in_any_batches_and_on_any_processes(batch_size):
    images, labels = pictures(size=8), np.arange(6, dtype=np.int32)
    split = CorruptedSplit(Split(labels, images.__getitem__, True), 'impulse_noise', 5, seed=3)
    expected = corrupt(images, 'impulse_noise', 5, seed=3)
    assert split.num_examples == 6
    seen = np.zeros_like(images)
    for process in range(min(batch_size, 2)):
        rows = (
            slice(process, batch_size)
            if batch_size == 1
            else slice(process * batch_size // 2, (process + 1) * batch_size // 2)
        )
        for batch, batch_labels in split.in_order(batch_size, rows):
            seen[batch_labels] = batch
    np.testing.assert_array_equal(seen, expected)
