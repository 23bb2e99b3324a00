"""Warps: crops, flips and affine maps, each as the source pixel of every output pixel.

Such a map is int32 `(height · width,)`: the index of the source pixel, in row-major order, or −1 for the fill level
(`lookup.Lookup.take_pixels`). Affine maps are those of Pillow, from output to input: (a, b, c, d, e, f) stands for
x' = a x + b y + c, y' = d x + e y + f, with pixel centres at one half, in Pillow's 16.16 fixed-point arithmetic.
"""

import math

import jax.numpy as jnp
import numpy as np


def rotation(degrees: float, height: int, width: int):
    """Returns the affine map of `Image.rotate`: counter-clockwise about the centre."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y)


def fixed_point(affine) -> np.ndarray:
    """Converts an affine map of pixel centres to one of pixel indices, int32 `(6,)` in units of 2⁻¹⁶."""
    a, b, c, d, e, f = affine
    numbers = np.array((a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5), np.float64)
    return np.floor(numbers * 65536 + 0.5).astype(np.int32)


def affine_source(affine, height: int, width: int):
    """Returns the source of each pixel for an affine map in fixed point, int32 `(6,)`."""
    row, column = places(height, width)
    a, b, c, d, e, f = affine
    return _number((d * column + e * row + f) >> 16, (a * column + b * row + c) >> 16, height, width)


def crop_source(corner, mirrored, height: int, width: int, reflect: bool):
    """Returns the source of each pixel in a window of the image's size, mirrored left to right if `mirrored`.

    `corner`, int32 `(2,)`, is the window's first row and column in the image; `mirrored` is a bool. Pixels outside the
    image are filled or, if `reflect`, mirrored at the image's edge; the edge itself is not repeated.
    """
    row, column = places(height, width)
    row, column = corner[0] + row, corner[1] + jnp.where(mirrored, width - 1 - column, column)
    if reflect:
        row, column = _reflected(row, height), _reflected(column, width)
    return _number(row, column, height, width)


def places(height: int, width: int):
    """Returns row and column of each pixel, int32 `(height · width,)`."""
    number = np.arange(height * width, dtype=np.int32)
    return number // width, number % width


def _number(row, column, height, width):
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return jnp.where(inside, row * width + column, -1)


def _reflected(position, size):
    return size - 1 - abs(size - 1 - abs(position))
