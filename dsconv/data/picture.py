"""One picture → uint8 (image_size, image_size, channels). The one place where pictures are decoded and resized."""

import contextlib
import io
import os
import warnings

import numpy as np
from PIL import Image, ImageOps, features

from dsconv.errors import InputError
from dsconv.files import is_remote, to_path

# Pillow warns, in lines of its own, of pictures that are refused here anyway, or well decoded in spite of a flaw.
warnings.filterwarnings('ignore', module=r'PIL\.')

# Others stay closed: Pillow would start Ghostscript for some.
FORMATS = {
    'PNG': ('.png',),
    'JPEG': ('.jpg', '.jpeg', '.jpe', '.jfif'),
    'BMP': ('.bmp',),
    'DIB': ('.dib',),
    'GIF': ('.gif',),
    'WEBP': ('.webp',),
    'TIFF': ('.tif', '.tiff'),
    'PPM': ('.ppm', '.pgm', '.pbm', '.pnm'),
}
if 'avif' in features.modules and features.check('avif'):  # not in older versions and some builds of Pillow
    FORMATS['AVIF'] = ('.avif',)
EXTENSIONS = frozenset(extension for extensions in FORMATS.values() for extension in extensions)
GREY_MODES = ('1', 'L', 'LA', 'La', 'I', 'F')


def read_picture(path, image_size: int, channels: int) -> np.ndarray:
    """Reads a picture file.

    PNG, JPEG, BMP, GIF (first frame), WebP, AVIF, TIFF and PPM/PGM, whatever the file is called, in any colour mode:
    see `fit` for what becomes of it.

    Returns: uint8 `(image_size, image_size, channels)`, 0..255.
    Raises: InputError, naming the file, when it is missing, unreadable, damaged, too large or not a picture.
    """
    with _file(path) as file:
        return decode_picture(file, image_size, channels)


def decode_picture(file, image_size: int, channels: int) -> np.ndarray:
    """Decodes the bytes or the open binary file of a picture as `read_picture`; errors do not name it."""
    with _open(io.BytesIO(file) if isinstance(file, bytes) else file) as picture:
        try:
            return fit(picture, image_size, channels)
        except InputError:
            raise
        except Exception as error:  # Pillow's decoders raise whatever their format's code happens to raise
            raise InputError(f'is damaged ({error})') from error


def picture_header(path) -> tuple[tuple[int, int], str]:
    """Returns ((width, height), mode) from a picture's header. Raises InputError as `read_picture`."""
    with _file(path) as file, _open(file) as picture:
        return picture.size, picture.mode


def is_grey(mode: str) -> bool:
    """Returns whether a Pillow mode holds no colour."""
    return mode in GREY_MODES or mode.startswith('I;16')


def fit(picture, image_size: int, channels: int) -> np.ndarray:
    """Brings a Pillow image to uint8 `(image_size, image_size, channels)`.

    The EXIF orientation is applied. What is transparent is composited on white, the page such pictures are drawn for.
    16 bits become 8 by dividing by 257 (65535 → 255), floating-point pixels are taken to lie in [0, 1]. Colour
    becomes grey by ITU-R 601 luma. The size is changed by Pillow's antialiased bilinear filter, each axis by itself: a
    picture that is not square is squashed, nothing of it is cut off.
    """
    picture = _eight_bits(ImageOps.exif_transpose(picture))
    if picture.has_transparency_data:
        picture = picture.convert('RGBA')
        picture = Image.alpha_composite(Image.new('RGBA', picture.size, 'white'), picture)
    picture = picture.convert('L' if channels == 1 else 'RGB')
    if picture.size != (image_size, image_size):
        picture = picture.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(image_size, image_size, channels)


def fit_array(image: np.ndarray, image_size: int, channels: int) -> np.ndarray:
    """Applies `fit` to an array: uint8 `(height, width, 1 or 3)` → uint8 `(image_size, image_size, channels)`."""
    if image.shape == (image_size, image_size, channels):
        return image
    return fit(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), image_size, channels)


@contextlib.contextmanager
def _file(path):
    """Opens a file. Errors while it is open become InputErrors that name it."""
    path = to_path(path)
    try:
        if is_remote(path):
            yield io.BytesIO(path.read_bytes())
            return
        if os.path.exists(path) and not os.path.isfile(path):  # to open a pipe could take for ever
            raise InputError('is a folder without pictures' if os.path.isdir(path) else 'is not a file')
        with path.open('rb') as file:
            yield file
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    except FileNotFoundError as error:
        raise InputError(f'{path}: there is no such file') from error
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror or error})') from error


def _open(file):
    try:
        picture = Image.open(file, formats=tuple(FORMATS))
    except Image.DecompressionBombError as error:
        raise InputError(f'has too many pixels ({error})') from error
    except Image.UnidentifiedImageError as error:
        raise InputError('is not a picture that can be read') from error
    except Exception as error:
        raise InputError(f'is damaged ({error})') from error
    if picture.width * picture.height > Image.MAX_IMAGE_PIXELS:  # Pillow itself only warns up to twice the limit
        raise InputError(f'has too many pixels ({picture.width}x{picture.height}, over {Image.MAX_IMAGE_PIXELS})')
    return picture


def _eight_bits(picture):
    """Rescales modes of more than 8 bits, which Pillow's own conversion would clip at 255."""
    if not (picture.mode in ('I', 'F') or picture.mode.startswith('I;16')):
        return picture
    top = 1.0 if picture.mode == 'F' else 65535.0
    pixels = np.asarray(picture, np.float64)
    if not (pixels.min() >= 0 and pixels.max() <= top):
        raise InputError(f'has pixels of mode {picture.mode} outside 0..{top:.0f}: convert it to 8 bits first')
    return Image.fromarray(np.rint(pixels * (255 / top)).astype(np.uint8))
