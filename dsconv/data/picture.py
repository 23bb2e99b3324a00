"""Reads a picture as uint8 (image_size, image_size, channels). All pictures are decoded and resized here."""

import contextlib
import errno
import functools
import importlib.util
import io
import math
import os
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image, PngImagePlugin, features

from dsconv.errors import InputError, RunError, with_causes
from dsconv.files import describe, is_remote, to_path

# Pillow warns of pictures that are refused here anyway, or that it decodes well despite a flaw.
warnings.filterwarnings('ignore', module=r'PIL\.')
# Otherwise, Pillow refuses a PNG with more than 1 MiB in a text, such as the history of an editor.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY

# Other formats are not opened: Pillow would start Ghostscript for some of them.
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
if features.check('avif'):  # not in some builds of Pillow
    FORMATS['AVIF'] = ('.avif',)
if importlib.util.find_spec('pillow_heif'):  # the format of iPhones; the package is optional
    from pillow_heif import register_heif_opener

    register_heif_opener()
    FORMATS['HEIF'] = ('.heic', '.heif')
EXTENSIONS = frozenset(extension for extensions in FORMATS.values() for extension in extensions)
PADDING = 128  # level of the margins of a padded picture
REDUCED = 2  # the box of a JPEG is decoded with at least this multiple of `image_size` per side
OF_MACHINE = (
    errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOTCONN, errno.ECONNRESET,
    errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH,
)  # fmt: skip
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap width and height
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_picture(
    path, image_size: int, channels: int, resize: str = 'squash', crop: Callable | None = None
) -> np.ndarray:
    """Reads a picture file.

    The formats are PNG, JPEG, BMP, GIF (first frame), WebP, AVIF, TIFF, PPM/PGM, and HEIC if pillow-heif is installed.
    The file may have any extension and any colour mode; see `fit` for the conversion and the arguments.

    Returns: uint8 `(image_size, image_size, channels)`, 0..255.
    Raises: InputError, naming the file, when it is missing, unreadable, damaged, too large or not a picture.
    """
    with _file(path) as file, open_picture(file) as picture:
        return fit(picture, image_size, channels, resize, crop)


def picture_header(path) -> np.ndarray:
    """Returns int32 (width and height as Pillow gives them, is grey) of a picture. Raises as `read_picture`."""
    with _file(path) as file, open_picture(file) as picture:
        return np.array([*picture.size, Image.getmodebase(picture.mode) == 'L'], np.int32)


def of_sound_disk(read: Callable) -> Callable:
    """Wraps `read` to raise RunError for a fault of the disk, network or memory: the picture may be intact."""

    @functools.wraps(read)
    def reading(*arguments):
        try:
            return read(*arguments)
        except InputError as error:
            for link in with_causes(error):
                if isinstance(link, MemoryError) or getattr(link, 'errno', None) in OF_MACHINE:
                    remedy = 'run the same command again, or remove the file if it fails each time'
                    raise RunError(f'{arguments[0]}: could not be read ({describe(link)}): {remedy}') from error
            raise

    return reading


@contextlib.contextmanager
def _decoding():
    """Turns all exceptions of Pillow's decoders, whose types vary by format, into InputErrors."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f'is damaged ({error})') from error


@_decoding()
def fit(picture, image_size: int, channels: int, resize: str = 'squash', crop: Callable | None = None) -> np.ndarray:
    """Converts a Pillow image to uint8 `(image_size, image_size, channels)`.

    The EXIF orientation is applied. Transparent pixels are composited on white. 16-bit pixels are divided by 257
    (65535 → 255); floating-point pixels must be in [0, 1]. Colour is converted to grey by ITU-R 601 luma. The image is
    resized with Pillow's antialiased bilinear filter.

    Args:
      picture: a Pillow image; decoding is faster if it is not loaded yet.
      resize: for a picture that is not square: 'squash' scales each axis separately, 'crop' takes the square in the
        middle, 'pad' adds grey margins.
      crop: (width, height) of the upright picture → the box (left, top, right, bottom) to use instead. A JPEG is then
        decoded at 1/2, 1/4 or 1/8 of its size if the box keeps `REDUCED` times `image_size` pixels per side.

    Raises: InputError when the picture cannot be decoded, or its pixels are out of range.
    """
    box = None
    if crop is not None:
        # Pillow gives the upright size of a TIFF, and the size as stored of other files.
        turned = picture.format != 'TIFF' and _orientation(picture) in SIDEWAYS
        box = crop(picture.size[::-1] if turned else picture.size)
        factor = _reduce(picture, min(box[2] - box[0], box[3] - box[1]) / (REDUCED * image_size))
        box = tuple(side * factor for side in box)
    picture = _eight_bits(_upright(picture))
    if picture.mode == 'LAB':  # Pillow converts LAB only to RGB
        picture = picture.convert('RGB')
    if picture.has_transparency_data:
        picture = picture.convert('RGBA')
        picture = Image.alpha_composite(Image.new('RGBA', picture.size, 'white'), picture)
    picture = picture.convert('L' if channels == 1 else 'RGB')
    return np.asarray(_resized(picture, image_size, resize, box)).reshape(image_size, image_size, channels)


def _reduce(picture, by: float) -> float:
    """Sets a JPEG to be decoded at 1/2, 1/4 or 1/8, but not below 1/`by`. Returns the ratio of new to old size."""
    width, height = picture.size
    drafted = by >= 2 and picture.draft(None, (max(1, int(width / by)), max(1, int(height / by))))
    return drafted[1][2] / width if drafted else 1.0


def _resized(picture, image_size: int, resize: str, box):
    width, height = picture.size
    shorter, longer = sorted(picture.size)
    if resize == 'pad' and not box and width != height:
        sides = [max(1, round(side * image_size / longer)) for side in picture.size]
        page = Image.new(picture.mode, (image_size, image_size), (PADDING,) * len(picture.getbands()))
        page.paste(picture.resize(sides, Image.Resampling.BILINEAR), tuple((image_size - side) // 2 for side in sides))
        return page
    if resize == 'crop' and not box:
        left, top = (width - shorter) // 2, (height - shorter) // 2
        box = (left, top, left + shorter, top + shorter)
    return picture.resize((image_size, image_size), Image.Resampling.BILINEAR, box)


def drawn_crop(scale: tuple, ratio: tuple, seed: int, epoch: int, place: int) -> Callable:
    """Returns a `crop` for `fit`: a `random_box` that depends only on size, seed, epoch and place in the epoch."""
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, place + 1]))
    return lambda size: random_box(size, scale, ratio, generator)


def random_box(size: tuple[int, int], scale: tuple, ratio: tuple, generator) -> tuple[int, int, int, int]:
    """Draws the box of a random resized crop (Szegedy et al., 2015).

    Args:
      size: width and height of the picture.
      scale: least and largest share of the picture's area, in (0, 1]; drawn uniformly.
      ratio: least and largest width/height; drawn log-uniformly.
      generator: a `numpy.random.Generator`.

    Returns: (left, top, right, bottom) in pixels. If none of ten draws fits into the picture, the box is the largest
      centred box whose ratio is in range.
    """
    width, height = size
    for _ in range(10):
        area = generator.uniform(*scale) * width * height
        shape = math.exp(generator.uniform(*map(math.log, ratio)))
        across, down = max(1, round(math.sqrt(area * shape))), max(1, round(math.sqrt(area / shape)))
        if across <= width and down <= height:
            left, top = generator.integers(0, (width - across + 1, height - down + 1))
            return int(left), int(top), int(left) + across, int(top) + down
    shape = min(max(width / height, ratio[0]), ratio[1])
    across, down = max(1, min(width, round(height * shape))), max(1, min(height, round(width / shape)))
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


def fit_array(image: np.ndarray, image_size: int, channels: int, resize: str = 'squash') -> np.ndarray:
    """Applies `fit` to an array: uint8 `(height, width, 1, 3 or 4)` → uint8 `(image_size, image_size, channels)`."""
    if image.shape == (image_size, image_size, channels):
        return image
    return fit(from_array(image), image_size, channels, resize)


def from_array(image: np.ndarray) -> Image.Image:
    """Converts a uint8 array `(height, width, channels)` to a Pillow image."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


@contextlib.contextmanager
def _file(path):
    """Opens a file. Turns errors while it is open into InputErrors that name the file."""
    path = to_path(path)
    try:
        if is_remote(path):
            yield io.BytesIO(path.read_bytes())
            return
        if os.path.exists(path) and not os.path.isfile(path):  # opening a pipe could block
            raise InputError('is a folder without pictures' if os.path.isdir(path) else 'is not a file')
        with path.open('rb') as file:
            yield file
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    except FileNotFoundError as error:
        raise InputError(f'{path}: there is no such file') from error
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror or error})') from error


@_decoding()
def open_picture(file) -> Image.Image:
    """Opens the picture in a binary file, for `fit`. Raises InputError as `read_picture`, but without the file name."""
    try:
        picture = Image.open(file, formats=tuple(FORMATS))
    except Image.DecompressionBombError as error:
        raise InputError(f'has too many pixels ({error})') from error
    except Image.UnidentifiedImageError as error:
        raise InputError('is not a picture that can be read') from error
    limit = Image.MAX_IMAGE_PIXELS  # None if the caller removed it; Pillow itself only warns up to twice the limit
    if limit and picture.width * picture.height > limit:
        raise InputError(f'has too many pixels ({picture.width}x{picture.height}, over {limit})')
    return picture


def _orientation(picture) -> int | None:
    try:
        return picture.getexif().get(ORIENTATION)
    except Exception:  # Pillow raises many types; a damaged EXIF leaves the pixels intact
        return None


def _upright(picture):
    """Rotates and mirrors a picture by its EXIF orientation.

    `ImageOps.exif_transpose` also rewrites the EXIF, which fails if another tag has a value of a wrong type.
    """
    picture.load()  # this already rotates a TIFF
    turn = TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def _eight_bits(picture):
    """Rescales modes of more than 8 bits, which Pillow's own conversion would clip at 255."""
    if not (picture.mode in ('I', 'F') or picture.mode.startswith('I;16')):
        return picture
    top = 1.0 if picture.mode == 'F' else 65535.0
    pixels = np.asarray(picture, np.float64)
    if not (pixels.min() >= 0 and pixels.max() <= top):
        raise InputError(f'has pixels of mode {picture.mode} outside 0..{top:.0f}: convert it to 8 bits first')
    grey = Image.fromarray(np.rint(pixels * (255 / top)).astype(np.uint8))
    if (level := picture.info.get('transparency')) is not None:  # the transparent level of a PNG
        grey.putalpha(Image.fromarray(np.where(pixels == level, 0, 255).astype(np.uint8)))
    return grey
