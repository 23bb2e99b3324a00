"""Pictures as Pillow writes them, against their own pixels and against Pillow."""

import contextlib
import errno
import struct
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from dsconv.data.picture import fit, fit_array, of_sound_disk, picture_header, random_box, read_picture
from dsconv.errors import InputError, RunError

RAMP = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16


def saved(tmp_path, picture, name='p.png', **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


def read(path, channels=3, size=4):
    picture = read_picture(path, size, channels)
    assert picture.shape == (size, size, channels) and picture.dtype == np.uint8
    return picture


def rotated(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_colour_is_untouched_grey_is_its_luma_and_grey_becomes_colour(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    path = saved(tmp_path, Image.fromarray(pixels))
    assert np.array_equal(read(path), pixels)
    assert np.abs(read(path, 1)[..., 0] - pixels @ np.array([0.299, 0.587, 0.114])).max() <= 1
    path = saved(tmp_path, Image.fromarray(RAMP))
    assert np.array_equal(read(path), np.stack([RAMP] * 3, -1))
    assert np.array_equal(read(saved(tmp_path, Image.fromarray(RAMP > 100)), 1)[..., 0], (RAMP > 100) * 255)


def test_sixteen_bits_are_scaled_not_clipped_and_floats_taken_as_zero_to_one(tmp_path):
    for name in ('p.png', 'p.tif', 'p.pgm'):
        picture = read(saved(tmp_path, Image.fromarray(RAMP.astype(np.uint16) * 257), name), 1)
        assert np.array_equal(picture[..., 0], RAMP)
    path = saved(tmp_path, Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)), 'p.tif')
    assert np.array_equal(read(path, 1).ravel(), np.arange(16) * 17)
    path = saved(tmp_path, Image.fromarray(np.full((4, 4), 200, np.float32)), 'q.tif')
    with pytest.raises(InputError, match='q.tif.*outside 0..1'):
        read(path)


def test_transparency_is_composited_on_white_that_of_a_palette_too(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0], rgba[..., 3], alpha = 100, RAMP, RAMP / 255.0
    picture = read(saved(tmp_path, Image.fromarray(rgba)))
    assert np.abs(picture[..., 0] - (100 * alpha + 255 * (1 - alpha))).max() <= 1
    assert np.abs(picture[..., 1] - 255 * (1 - alpha)).max() <= 1
    picture = Image.merge('LA', [Image.fromarray(RAMP), Image.new('L', (4, 4), 0)])
    assert (read(saved(tmp_path, picture), 1) == 255).all()
    deep = saved(tmp_path, Image.fromarray(RAMP.astype(np.uint16) * 257), transparency=int(RAMP[1, 1]) * 257)
    assert np.array_equal(read(deep, 1)[..., 0], np.where(RAMP[1, 1] == RAMP, 255, RAMP))
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert('P')
    picture.putpalette([10, 20, 30, 40, 50, 60])
    expected = np.array([[[10, 20, 30], [40, 50, 60]], [[40, 50, 60], [10, 20, 30]]])
    assert np.array_equal(read(saved(tmp_path, picture), size=2), expected)
    expected[[0, 1], [1, 0]] = 255
    assert np.array_equal(read(saved(tmp_path, picture, 'q.png', transparency=1), size=2), expected)


def test_cmyk_and_lab(tmp_path):
    red = saved(tmp_path, Image.new('LAB', (4, 4), (138, 209, 198)), 'p.tif')  # CIELAB of D50: (54.3, 81, 70)
    assert np.abs(read(red)[0, 0].astype(int) - [255, 0, 0]).max() <= 6
    assert abs(int(read(red, 1)[0, 0, 0]) - 76) <= 2  # the luma of red
    red = saved(tmp_path, Image.new('CMYK', (4, 4), (0, 255, 255, 0)), 'p.jpg', quality=100)
    assert np.abs(read(red).astype(int) - [255, 0, 0]).max() <= 3


def test_orientation_is_applied_and_the_first_frame_of_an_animation_taken(tmp_path):
    path = saved(tmp_path, Image.fromarray(RAMP), exif=rotated(6))  # "rotate by 90 degrees clockwise to see it upright"
    assert np.array_equal(read(path, 1)[..., 0], np.rot90(RAMP, -1))
    # The same in bytes, and a text where a fraction belongs, the horizontal resolution.
    tags = struct.pack('<HHII', 0x0112, 3, 1, 6) + struct.pack('<HHI4s', 0x011A, 2, 4, b'72dp')
    odd = b'Exif\0\0II*\0' + struct.pack('<IH', 8, 2) + tags + bytes(4)
    assert np.array_equal(read(saved(tmp_path, Image.fromarray(RAMP), exif=odd), 1)[..., 0], np.rot90(RAMP, -1))
    frames = [Image.new('RGB', (4, 4), colour) for colour in ('red', 'blue')]
    for name in ('p.gif', 'P.TIFF'):
        assert (read(saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])) == [255, 0, 0]).all()


def test_a_long_text_in_a_picture_does_not_matter(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text('history', 'a' * 2**21, zip=True)
    Image.new('RGB', (4, 4), (1, 2, 3)).save(tmp_path / 'edited.png', pnginfo=texts)
    assert read_picture(tmp_path / 'edited.png', 1, 3).tolist() == [[[1, 2, 3]]]


def test_what_cannot_be_read(tmp_path, monkeypatch):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for name in ('whole.png', 'whole.jpg'):
        data = saved(tmp_path, noise, name).read_bytes()
        (tmp_path / f'cut_{name}').write_bytes(data[: len(data) // 2])
    for name, message in {
        '.': 'is a folder without pictures$',
        'cut_whole.png': 'cut_whole.png: is damaged',
        'cut_whole.jpg': 'cut_whole.jpg: is damaged',
    }.items():
        with pytest.raises(InputError, match=message):
            read_picture(tmp_path / name, 4, 3)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', None)
    assert read_picture(tmp_path / 'whole.png', 64, 3).tolist() == np.asarray(noise).tolist()
    for limit, warns in ((100, contextlib.nullcontext()), (3000, pytest.warns())):
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
        with pytest.raises(InputError, match='whole.png: has too many pixels'), warns:
            read_picture(tmp_path / 'whole.png', 4, 3)


def test_squash_is_antialiased_crop_takes_the_middle_and_pad_adds_margins():
    stripes = np.zeros((8, 16, 1), np.uint8)
    stripes[:, ::2] = 255  # without antialiasing: all black or all white
    assert np.abs(fit_array(stripes, 4, 1).astype(int) - 127).max() < 40
    wide = np.random.default_rng(0).integers(0, 256, (6, 11, 3), np.uint8)
    assert np.array_equal(fit_array(wide, 6, 3, 'crop'), wide[:, 2:8])
    assert np.array_equal(fit_array(wide.swapaxes(0, 1), 6, 3, 'crop'), wide.swapaxes(0, 1)[2:8])
    padded = fit_array(wide, 11, 3, 'pad')
    assert np.array_equal(padded[2:8], wide) and (padded[[0, 1, 8, 9, 10]] == 128).all()
    small = fit_array(np.full((40, 80, 1), 9, np.uint8), 8, 1, 'pad')
    assert (small[2:6] == 9).all() and (small[[0, 1, 6, 7]] == 128).all()
    for resize in ('crop', 'pad'):
        assert np.array_equal(fit_array(wide[:, :6], 3, 3, resize), fit_array(wide[:, :6], 3, 3, 'squash'))
    expected = Image.fromarray(wide).resize((4, 4), Image.Resampling.BILINEAR, (1, 2, 9, 5))  # of no JPEG: exact
    assert np.array_equal(fit(Image.fromarray(wide), 4, 3, 'squash', lambda size: (1, 2, 9, 5)), expected)


# Of a JPEG, Pillow gives the size as stored; a TIFF is turned when it is loaded.
@pytest.mark.parametrize('name, orientation', [*(('p.jpg', turn) for turn in range(1, 9)), ('p.tif', 1), ('p.tif', 6)])
def test_a_box_of_a_picture_is_that_of_pillow_within_the_stated_level_and_upright(tmp_path, name, orientation):
    coarse = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    photograph = Image.fromarray(coarse).resize((1600, 1200), Image.Resampling.BICUBIC)
    path = saved(tmp_path, photograph, name, exif=rotated(orientation), quality=95)
    upright, sizes, box = ImageOps.exif_transpose(Image.open(path)), [], (301, 77, 1190, 1103)
    found = read_picture(path, 64, 3, 'squash', lambda size: sizes.append(size) or box).astype(int)
    expected = np.asarray(upright.resize((64, 64), Image.Resampling.BILINEAR, box), int)
    assert sizes == [upright.size]
    assert np.abs(found - expected).mean() < 1 and np.abs(found - expected).max() <= 12


@pytest.mark.parametrize('size', [(400, 300), (300, 400), (1000, 10)])
def test_random_boxes_lie_inside_and_have_the_areas_and_shapes_asked_for(size):
    generator = np.random.default_rng(0)
    boxes = np.array([random_box(size, (0.2, 0.5), (0.75, 4 / 3), generator) for _ in range(2000)])
    across, down = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0 and (boxes[:, 2:] <= size).all() and min(across.min(), down.min()) > 0
    if min(size) < 100:  # no such box fits: the middle one that is as wide as may be
        assert len(np.unique(boxes, axis=0)) == 1
        return
    shares, shapes = across * down / np.prod(size), np.log(across / down)
    assert shares.min() > 0.19 and shares.max() < 0.51 and abs(shares.mean() - 0.35) < 0.01
    assert abs(shapes).max() < np.log(4 / 3) + 0.02 and abs(shapes.mean()) < 0.02
    assert abs(boxes[:, 0].mean() / (size[0] - across).mean() - 0.5) < 0.03


def test_a_box_may_touch_every_edge_of_a_picture():
    generator = np.random.default_rng(0)
    assert random_box((100, 90), (1.0, 1.0), (3.0, 3.0), generator) == (0, 28, 100, 61)  # in the middle
    left, top, right, bottom = random_box((1000, 1000), (0.1, 0.1), (3.0, 3.0), generator)
    assert (right - left) / (bottom - top) == pytest.approx(3, rel=0.02)
    assert random_box((20, 20), (1.0, 1.0), (1.0, 1.0), generator) == (0, 0, 20, 20)
    tops = [random_box((20, 22), (20 / 22, 20 / 22), (1.0, 1.0), generator)[1] for _ in range(60)]
    assert set(tops) == {0, 1, 2}


@pytest.mark.parametrize(
    ('fault', 'kind'),
    [(PermissionError(13, ''), InputError), (OSError(errno.ESTALE, ''), RunError), (MemoryError(), RunError)],
)
def test_a_picture_that_a_failing_machine_hides_is_not_broken(tmp_path, monkeypatch, fault, kind):
    path = saved(tmp_path, Image.fromarray(RAMP))
    monkeypatch.setattr(Image, 'open', Mock(side_effect=fault))
    with pytest.raises(kind, match='p.png: is damaged|p.png: could not be read'):
        of_sound_disk(picture_header)(path)
