"""Corruptions against Pillow, SciPy, colorsys and the statistics of their noise."""

import colorsys
import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from dsconv.data.corruptions import CORRUPTIONS, SEVERITIES, CorruptedSplit, corrupt
from dsconv.data.splits import Split


def pictures(count=6, size=32, channels=3):
    """Smooth ones, as photographs are."""
    noise = np.random.default_rng(0).normal(size=(count, size, size, channels))
    smooth = ndimage.gaussian_filter(noise, (0, 4, 4, 0))
    return np.uint8(np.clip(128 + 60 * smooth / smooth.std(), 0, 255))


def grey(level, size=64):
    return np.full((8, size, size, 3), level, np.uint8)


@pytest.mark.parametrize('channels', [1, 3])
def test_damage_grows_with_severity(channels):
    images = pictures(channels=channels)
    for name in CORRUPTIONS:
        damaged = [corrupt(images, name, severity) for severity in SEVERITIES]
        assert {(one.shape, one.dtype) for one in damaged} == {(images.shape, images.dtype)}
        errors = [np.square(one.astype(float) - images).mean() for one in damaged]
        assert errors[0] > 0 and errors == sorted(errors), name


def test_noise_has_the_deviation_and_the_shares_of_its_level():
    gaussian = corrupt(grey(128), 'gaussian_noise', 5) / 255
    assert (gaussian.std(), gaussian.mean()) == (pytest.approx(0.10, rel=0.02), pytest.approx(128 / 255, abs=0.002))
    for level in (40, 100):  # the variance of photons grows with the light: 50 of them are white
        shot = corrupt(grey(level), 'shot_noise', 5) / 255
        assert shot.mean() == pytest.approx(level / 255, abs=0.002)
        assert shot.var() == pytest.approx(level / 255 / 50, rel=0.05)
    impulse = corrupt(grey(100), 'impulse_noise', 5)
    assert set(np.unique(impulse)) == {0, 100, 255}
    assert [(impulse == end).mean() for end in (0, 255)] == pytest.approx([0.035] * 2, rel=0.1)
    assert (impulse != 100).any(axis=3).mean() > 2 * 0.07  # every channel by itself


@pytest.mark.parametrize(('size', 'deviation'), [(32, 0.7), (64, 1.4)])
def test_blur_is_a_convolution_with_a_gaussian_that_grows_with_the_image(size, deviation):
    image = pictures(1, size)
    kernel = np.exp(-(np.arange(-8, 9) ** 2) / (2 * deviation**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    for channel in range(3):
        expected = ndimage.convolve(image[0, ..., channel].astype(float), kernel, mode='nearest')
        np.testing.assert_allclose(corrupt(image, 'gaussian_blur', 3)[0, ..., channel], expected, atol=0.6)


def test_contrast_shrinks_the_distance_from_the_mean():
    images = pictures() // 2 + 60  # nothing is clipped
    damaged = corrupt(images, 'contrast', 4).astype(float)
    np.testing.assert_allclose(damaged.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=0.1)
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
    for image, jpeg, pixelated in zip(images, corrupt(images, 'jpeg', 5), corrupt(images, 'pixelate', 5)):
        file, picture = io.BytesIO(), Image.fromarray(np.squeeze(image))
        picture.save(file, 'JPEG', quality=40)
        np.testing.assert_array_equal(np.squeeze(jpeg), np.asarray(Image.open(file)))
        small = picture.resize((20, 20), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
        np.testing.assert_array_equal(np.squeeze(pixelated), np.asarray(small))


@pytest.mark.parametrize('name', ['gaussian_noise', 'shot_noise', 'impulse_noise'])
def test_an_images_noise_is_its_own_in_any_batches_and_on_any_processes(name):
    images, labels = np.repeat(pictures(1, 16), 6, axis=0), np.arange(6, dtype=np.int32)
    whole = corrupt(images, name, 3, seed=7)
    assert len(np.unique(whole.reshape(6, -1), axis=0)) == 6
    assert (corrupt(images, name, 3, seed=8) != whole).any()
    split = CorruptedSplit(Split(labels, images.__getitem__, True), name, 3, seed=7)
    assert split.num_examples == 6
    for batch_size in (4, 100):
        seen = np.zeros_like(images)
        for process in range(2):
            rows = slice(process * batch_size // 2, (process + 1) * batch_size // 2)
            for batch, batch_labels in split.in_order(batch_size, rows):
                seen[batch_labels] = batch
        np.testing.assert_array_equal(seen, whole)


def test_the_noise_of_each_severity_is_drawn_anew():
    mild, strong = (corrupt(grey(128), 'gaussian_noise', severity).ravel().astype(float) for severity in (4, 5))
    assert abs(np.corrcoef(mild, strong)[0, 1]) < 0.03
