"""Each operation against Pillow's, at every level, in the three forms that there are; and the table of parameters."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dsconv.augment import blend, tone
from dsconv.augment.lookup import GATHER, ONE_HOT
from dsconv.augment.operations import (
    BLEND,
    NOTHING,
    OPERATIONS,
    RANDAUGMENT_OPERATIONS,
    STEPS,
    TONE,
    WARP,
    Parameters,
    apply_operation,
    parameter_table,
)
from tests.augment import pillow

# RandAugment's levels 0 … 10 and AutoAugment's 0 … 9, as steps; the steps between come of RandAugment's spread.
LEVELS = sorted({9 * level for level in range(11)} | {10 * level for level in range(10)})
# Shape → steps that are tried.
SHAPES = {
    (32, 32, 3): LEVELS,
    (8, 8, 1): range(STEPS + 1),
    (5, 7, 3): range(STEPS + 1),
    (3, 3, 1): LEVELS,
    (2, 2, 3): LEVELS,
    (1, 1, 1): LEVELS,
}
# One image after another, as on a CPU; or as many at once as memory allows, as on a GPU and on a TPU.
FORMS = {'loop': (GATHER, None), 'vmapped gather': (GATHER, 16), 'vmapped one-hot': (ONE_HOT, 16)}


def operate(lookup, image, row, centre, fill):
    height, width, channels = image.shape
    planes = image.transpose(2, 0, 1).reshape(channels, height * width)
    planes = apply_operation(planes, Parameters.unpacked(row), centre, height, width, fill, lookup)
    return planes.reshape(channels, height, width).transpose(1, 2, 0)


@functools.cache
def compiled(form):
    lookup, batch_size = FORMS[form]
    return jax.jit(lambda *jobs: lax.map(lambda job: operate(lookup, *job), jobs, batch_size=batch_size))


@functools.cache
def jobs(shape):
    """(operation, sign, step, image), each a number, of what is tried; a centre for Cutout and a filling of its own."""
    numbers = [
        (OPERATIONS.index(name), sign, step, image)
        for name in OPERATIONS
        for sign in range(2 if name in pillow.SIGNED else 1)
        for step in SHAPES[shape]
        for image in range(len(pillow.images(*shape)))
    ]
    generator = np.random.default_rng(0)
    centres = generator.integers(0, shape[:2], (len(numbers), 2), np.int32)
    return np.array(numbers), centres, generator.choice(np.array([0, 128, 255], np.int32), len(numbers))


@functools.cache
def outcome(form, shape):
    numbers, centres, fills = jobs(shape)
    rows = parameter_table(*shape[:2])[tuple(numbers[:, :3].T)]
    return np.asarray(compiled(form)(pillow.images(*shape)[numbers[:, 3]], rows, centres, fills))


@pytest.mark.parametrize('name', OPERATIONS)
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_equals_pillow_in_every_pixel(shape, name):
    numbers, centres, fills = jobs(shape)
    pictures = [pillow.to_picture(image) for image in pillow.images(*shape)]
    wrong = []
    for job in np.flatnonzero(numbers[:, 0] == OPERATIONS.index(name)):
        _, sign, step, image = numbers[job].tolist()
        centre, fill = centres[job].tolist(), int(fills[job])
        expected = pillow.operate(name, pictures[image], step, 1 - 2 * sign, centre, fill)
        if not np.array_equal(outcome('loop', shape)[job], pillow.to_image(expected)):
            wrong.append((sign, step, image))
    assert not wrong


@pytest.mark.parametrize('form', ['vmapped gather', 'vmapped one-hot'])
@pytest.mark.parametrize('shape', [(32, 32, 3), (5, 7, 3), (3, 3, 1)], ids=str)
def test_the_forms_are_equal(shape, form):
    assert np.array_equal(outcome(form, shape), outcome('loop', shape))


@pytest.mark.parametrize(('lookup', 'expected'), [(GATHER, {'gather', 'scatter-add'}), (ONE_HOT, set())])
def test_the_one_hot_form_has_no_gather_or_scatter(lookup, expected):
    shapes = [((4, 8, 8, 3), jnp.uint8), ((4, 11), jnp.int32), ((4, 2), jnp.int32), ((4,), jnp.int32)]
    traced = jax.make_jaxpr(jax.vmap(functools.partial(operate, lookup)))(*(jax.ShapeDtypeStruct(*s) for s in shapes))
    assert set(re.findall(r'= (gather|scatter[-a-z]*)\[', str(traced))) == expected


def test_the_operations_are_those_of_the_papers():
    assert RANDAUGMENT_OPERATIONS == (
        'Identity',
        'AutoContrast',
        'Equalize',
        'Rotate',
        'Solarize',
        'Color',
        'Posterize',
        'Contrast',
        'Brightness',
        'Sharpness',
        'ShearX',
        'ShearY',
        'TranslateX',
        'TranslateY',
    )
    assert OPERATIONS[:14] == RANDAUGMENT_OPERATIONS
    assert OPERATIONS[14:] == ('Invert', 'Cutout')


def unpacked(name, sign, step, height=32, width=32):
    row = parameter_table(height, width)[OPERATIONS.index(name), sign, step]
    return jax.tree.map(np.asarray, Parameters.unpacked(jnp.array(row)))


def test_a_table_has_a_row_for_each_operation_sign_and_step():
    table = parameter_table(32, 48)
    assert (table.shape, table.dtype) == ((16, 2, 91, 11), np.int32)


@pytest.mark.parametrize(
    ('block', 'names'),
    [
        (WARP, {'Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY', 'Cutout'}),
        (TONE, {'AutoContrast', 'Equalize', 'Solarize', 'Posterize', 'Invert'}),
        (BLEND, {'Color', 'Contrast', 'Brightness', 'Sharpness'}),
        (NOTHING, {'Identity'}),
    ],
)
def test_each_operation_is_of_one_idea_at_every_sign_and_step(block, names):
    blocks = parameter_table(32, 32)[..., 0]
    assert {name for name, row in zip(OPERATIONS, blocks) if np.all(row == block)} == names


def test_packing_keeps_the_parameters():
    parameters = Parameters(BLEND, 2, -3, 0.1 + 1.8 / 7, (1, -2, 3, -4, 5, -(2**31)), 9)
    restored = Parameters.unpacked(jnp.array(parameters.packed()))
    assert restored.factor.dtype == jnp.float32
    assert restored.factor == np.float32(parameters.factor)
    for name in ('block', 'kind', 'amount', 'side'):
        assert getattr(restored, name) == getattr(parameters, name)
    assert restored.affine.tolist() == list(parameters.affine)


def test_only_the_geometric_operations_have_a_sign():
    table = parameter_table(32, 32)
    differ = {name for name, (plus, minus) in zip(OPERATIONS, table) if not np.array_equal(plus, minus)}
    assert differ == set(pillow.SIGNED)


@pytest.mark.parametrize('name', [*pillow.SIGNED, 'Cutout'])
def test_a_warp_of_magnitude_zero_is_the_identity(name):
    for sign in (0, 1):
        parameters = unpacked(name, sign, step=0)
        # In units of 2⁻¹⁶, of pixels' numbers: the half is that of the centre.
        assert parameters.affine.tolist() == [65536, 0, 32768, 0, 65536, 32768]
        assert parameters.side == 0


def test_translations_and_cutout_grow_with_their_side_of_the_image():
    def shift(name, height, width):
        identity = unpacked(name, 0, 0).affine
        return ((unpacked(name, 0, STEPS, height, width).affine - identity) / 65536).tolist()

    assert shift('TranslateX', 64, 32) == [0, 0, 10, 0, 0, 0]
    assert shift('TranslateX', 32, 64) == [0, 0, 20, 0, 0, 0]
    assert shift('TranslateY', 64, 32) == [0, 0, 0, 0, 0, 20]
    assert shift('TranslateY', 32, 64) == [0, 0, 0, 0, 0, 10]
    assert [unpacked('Cutout', 0, STEPS, *sides).side for sides in ((32, 32), (64, 32), (64, 96))] == [20, 20, 40]


def test_posterize_and_solarize_grow_stronger_with_the_magnitude():
    for name, first, last in (('Posterize', 8, 4), ('Solarize', 256, 0)):
        amounts = [int(unpacked(name, 0, step).amount) for step in range(STEPS + 1)]
        assert (amounts[0], amounts[-1]) == (first, last)
        assert amounts == sorted(amounts, reverse=True)
        assert tone.KINDS[unpacked(name, 0, 0).kind] == name.lower()


@pytest.mark.parametrize('name', ['Color', 'Contrast', 'Brightness', 'Sharpness'])
def test_enhancements_change_nothing_at_half_of_their_range(name):
    # RandAugment's level 5, which is on a step: exactly one, not about.
    assert [unpacked(name, 0, step).factor for step in (0, STEPS // 2, STEPS)] == [np.float32(0.1), 1, np.float32(1.9)]
    assert blend.KINDS[unpacked(name, 0, 0).kind] == name.lower()
