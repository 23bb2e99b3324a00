"""Makes wrong files of all kinds, and reads back what a directory holds."""

import io
import os
import pickle
import struct
import zlib

import numpy as np
from PIL import Image

PIPE = object()


def png(width: int, height: int) -> bytes:
    """Returns a PNG whose header promises so many pixels, and which holds none."""
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + _chunk(b'IHDR', header) + _chunk(b'IDAT', b'') + _chunk(b'IEND', b'')


def _chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(file := io.BytesIO(), 'PNG')
PNG = file.getvalue()
PICKLE = pickle.dumps({'accuracy': 1})


def of(*classes, split=''):
    """Returns the files of ten pictures a class."""
    return {os.path.join(split, name, f'{number}.png'): PNG for name in classes for number in range(10)}


def build(root, tree):
    """Makes files (bytes), links (str, the target), directories (None) and pipes by their paths."""
    for path, content in tree.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            (root / path).mkdir(parents=True)
        elif content is PIPE:
            os.mkfifo(root / path)
        elif isinstance(content, str):
            (root / path).symlink_to(content)
        else:
            (root / path).write_bytes(content)


def contents(root) -> dict:
    """Returns what a directory holds: path → the bytes, the target of a link, or None where it may not be read."""
    found = {path: os.readlink(path) if path.is_symlink() else None for path in root.rglob('*')}
    readable = [path for path, target in found.items() if not target and path.is_file() and os.access(path, os.R_OK)]
    return found | {path: path.read_bytes() for path in readable}


TWO = of('cat', 'dog')
