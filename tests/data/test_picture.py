import contextlib

import numpy as np
import pytest
from PIL import Image

from dsconv.data.picture import fit_array, read_picture
from dsconv.errors import InputError

RAMP = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16


def saved(tmp_path, picture, name='p.png', **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


def read(path, channels=3, size=4):
    picture = read_picture(path, size, channels)
    assert picture.shape == (size, size, channels) and picture.dtype == np.uint8
    return picture


def test_colour_is_untouched_grey_is_its_luma_and_grey_becomes_colour(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    path = saved(tmp_path, Image.fromarray(pixels))
    assert np.array_equal(read(path), pixels)
    assert np.abs(read(path, 1)[..., 0] - pixels @ np.array([0.299, 0.587, 0.114])).max() <= 1
    path = saved(tmp_path, Image.fromarray(RAMP))
    assert np.array_equal(read(path, 1)[..., 0], RAMP)
    assert np.array_equal(read(path), np.stack([RAMP] * 3, -1))


def test_sixteen_bits_are_scaled_not_clipped_and_floats_taken_as_zero_to_one(tmp_path):
    for name in ('p.png', 'p.tif', 'p.pgm'):
        picture = read(saved(tmp_path, Image.fromarray(RAMP.astype(np.uint16) * 257), name), 1)
        assert np.array_equal(picture[..., 0], RAMP)
    path = saved(tmp_path, Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)), 'p.tif')
    assert np.array_equal(read(path, 1).ravel(), np.arange(16) * 17)
    path = saved(tmp_path, Image.fromarray(np.full((4, 4), 200, np.float32)), 'q.tif')
    with pytest.raises(InputError, match='q.tif.*outside 0..1'):
        read(path)


def test_transparency_is_composited_on_white(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0] = 100
    rgba[..., 3] = RAMP
    picture = read(saved(tmp_path, Image.fromarray(rgba)))
    alpha = RAMP / 255.0
    assert np.abs(picture[..., 0] - (100 * alpha + 255 * (1 - alpha))).max() <= 1
    assert np.abs(picture[..., 1] - 255 * (1 - alpha)).max() <= 1
    picture = Image.merge('LA', [Image.fromarray(RAMP), Image.new('L', (4, 4), 0)])
    assert (read(saved(tmp_path, picture), 1) == 255).all()


def test_palette_with_and_without_transparency(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert('P')
    picture.putpalette([10, 20, 30, 40, 50, 60])
    expected = np.array([[[10, 20, 30], [40, 50, 60]], [[40, 50, 60], [10, 20, 30]]])
    assert np.array_equal(read(saved(tmp_path, picture), size=2), expected)
    expected[[0, 1], [1, 0]] = 255
    assert np.array_equal(read(saved(tmp_path, picture, 'q.png', transparency=1), size=2), expected)


def test_cmyk_and_one_bit(tmp_path):
    path = saved(tmp_path, Image.new('CMYK', (4, 4), (0, 255, 255, 0)), 'p.jpg', quality=100)
    assert np.abs(read(path).astype(int) - [255, 0, 0]).max() <= 3
    assert np.array_equal(read(saved(tmp_path, Image.fromarray(RAMP > 100)), 1)[..., 0], (RAMP > 100) * 255)


def test_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to see it upright"
    path = saved(tmp_path, Image.fromarray(RAMP), exif=exif)
    assert np.array_equal(read(path, 1)[..., 0], np.rot90(RAMP, -1))


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new('RGB', (4, 4), colour) for colour in ('red', 'blue')]
    assert (read(saved(tmp_path, frames[0], 'p.gif', save_all=True, append_images=frames[1:])) == [255, 0, 0]).all()


def test_resizing_is_antialiased_and_squashes(tmp_path):
    stripes = np.zeros((8, 16), np.uint8)
    stripes[:, ::2] = 255  # without antialiasing: all black or all white
    picture = read(saved(tmp_path, Image.fromarray(stripes)), 1)
    assert np.abs(picture.astype(int) - 127).max() < 40
    assert np.array_equal(fit_array(np.full((8, 8, 1), 9, np.uint8), 4, 3), np.full((4, 4, 3), 9))


def test_what_cannot_be_read(tmp_path, monkeypatch):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for name in ('whole.png', 'whole.jpg'):
        data = saved(tmp_path, noise, name).read_bytes()
        (tmp_path / f'cut_{name}').write_bytes(data[: len(data) // 2])
    (tmp_path / 'text.png').write_text('not a picture')
    for name, message in {
        'absent.png': 'absent.png: there is no such file',
        '.': 'is a folder without pictures$',
        'text.png': 'text.png: is not a picture',
        'cut_whole.png': 'cut_whole.png: is damaged',
        'cut_whole.jpg': 'cut_whole.jpg: is damaged',
    }.items():
        with pytest.raises(InputError, match=message):
            read_picture(tmp_path / name, 4, 3)
    for limit, warns in ((100, contextlib.nullcontext()), (3000, pytest.warns())):
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
        with pytest.raises(InputError, match='whole.png: has too many pixels'), warns:
            read_picture(tmp_path / 'whole.png', 4, 3)
