"""The operations of RandAugment and AutoAugment, each as the parameters of a warp, a tone map or a blend.

Magnitudes are fractions of the AutoAugment paper's ranges (Cubuk et al. 2019, table 6), in `STEPS` equal steps that
contain both common scales: RandAugment's 0 … 10 are every 9th step, AutoAugment's levels 0 … 9 are every 10th step.
Translations are those of the authors' CIFAR-10 code (10 of 32 pixels), relative to the image's side. Cutout and
SamplePairing, also in the paper, are in neither of the two policies, and are omitted.
"""

import functools
from fractions import Fraction
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from dsconv.augment import blend, tone, warp

STEPS = 90  # of a magnitude, from 0 to 1
SIGNED, UNSIGNED = (1, -1), (1, 1)
WARP, TONE, BLEND, NOTHING = range(4)


class Parameters(NamedTuple):
    """The parameters of an operation on one image.

    Attributes:
      block: int, one of WARP, TONE, BLEND and NOTHING.
      kind: int, an index into `tone.KINDS` or `blend.KINDS`.
      amount: int, for a tone map.
      factor: float, for a blend.
      affine: six ints, for a warp: its affine map in fixed point.
    """

    block: int = NOTHING
    kind: int = 0
    amount: int = 0
    factor: float = 1.0
    affine: tuple = warp.fixed_point((1, 0, 0, 0, 1, 0))

    def packed(self) -> np.ndarray:
        """Packs the parameters into int32 `(10,)`, with the factor as the bits of its float32."""
        bits = np.float32(self.factor).view(np.int32)
        return np.array([self.block, self.kind, self.amount, bits, *self.affine], np.int32)

    @classmethod
    def unpacked(cls, row):
        """Unpacks int32 `(10,)` on the device."""
        return cls(row[0], row[1], row[2], lax.bitcast_convert_type(row[3], jnp.float32), row[4:])


def _warp(affine):
    return lambda m, height, width: Parameters(WARP, affine=warp.fixed_point(affine(m, height, width)))


def _tone(kind, amount=lambda m: 0):
    return lambda m, height, width: Parameters(TONE, tone.KINDS.index(kind), amount(m))


def _blend(kind):
    return lambda m, height, width: Parameters(BLEND, blend.KINDS.index(kind), factor=0.1 + 1.8 * m)


def _pixels(m, side):
    return int(m * 10 * side / 32)


# Name → (factors of the magnitude for both signs, (magnitude in [-1, 1], height, width) → parameters); see `warp` for
# affine maps.
_TABLE = {
    'Identity': (UNSIGNED, lambda m, height, width: Parameters()),
    'AutoContrast': (UNSIGNED, _tone('autocontrast')),
    'Equalize': (UNSIGNED, _tone('equalize')),
    'Rotate': (SIGNED, _warp(lambda m, height, width: warp.rotation(30 * m, height, width))),
    'Solarize': (UNSIGNED, _tone('solarize', lambda m: 256 - int(256 * m))),
    'Color': (UNSIGNED, _blend('color')),
    'Posterize': (UNSIGNED, _tone('posterize', lambda m: 8 - round(4 * m))),
    'Contrast': (UNSIGNED, _blend('contrast')),
    'Brightness': (UNSIGNED, _blend('brightness')),
    'Sharpness': (UNSIGNED, _blend('sharpness')),
    'ShearX': (SIGNED, _warp(lambda m, height, width: (1, 0.3 * m, 0, 0, 1, 0))),
    'ShearY': (SIGNED, _warp(lambda m, height, width: (1, 0, 0, 0.3 * m, 1, 0))),
    'TranslateX': (SIGNED, _warp(lambda m, height, width: (1, 0, _pixels(m, width), 0, 1, 0))),
    'TranslateY': (SIGNED, _warp(lambda m, height, width: (1, 0, 0, 0, 1, _pixels(m, height)))),
    'Invert': (UNSIGNED, _tone('invert')),
}
OPERATIONS = tuple(_TABLE)
RANDAUGMENT_OPERATIONS = OPERATIONS[:14]


@functools.cache
def parameter_table(height: int, width: int) -> np.ndarray:
    """Returns packed parameters, int32 `(operations, signs, steps, 10)`: signs + and −, steps 0 … `STEPS`.

    They are computed on the host, in fractions and double precision, so that they do not depend on a device's sine and
    equal those that Pillow computes.
    """
    magnitudes = [Fraction(step, STEPS) for step in range(STEPS + 1)]
    rows = [
        [[make(sign * magnitude, height, width).packed() for magnitude in magnitudes] for sign in signs]
        for signs, make in _TABLE.values()
    ]
    return np.array(rows, np.int32)


def apply_operation(planes, parameters: Parameters, height: int, width: int, fill: int, lookup):
    """Applies one operation to one image, uint8 `(channels, height · width)`.

    The branches are a warp, a tone map, a blend and the identity. In a loop over images, one branch runs; under `vmap`,
    all branches run, and one result is selected. `fill` is the level of pixels from outside the image, `lookup` a
    `lookup.Lookup`.
    """

    def warped(planes):
        return lookup.take_pixels(planes, warp.affine_source(parameters.affine, height, width), fill)

    def toned(planes):
        return tone.tone_map(planes, parameters.kind, parameters.amount, lookup)

    def blended(planes):
        return blend.blend(planes, parameters.kind, parameters.factor, height, width)

    return lax.switch(parameters.block, [warped, toned, blended, lambda planes: planes], planes)
