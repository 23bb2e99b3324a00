"""Each operation against Pillow's, at every level, in its three forms; and the table of parameters."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dsconv.augment import blend
from dsconv.augment.lookup import GATHER, ONE_HOT
from dsconv.augment.operations import OPERATIONS, STEPS, Parameters, apply_operation, parameter_table
from tests.augment import pillow

# RandAugment's levels 0 … 10 and AutoAugment's 0 … 9, as steps; the steps between are drawn with RandAugment's spread.
LEVELS = sorted({9 * level for level in range(11)} | {10 * level for level in range(10)})
# Shape → steps that are tried, each on every so many images.
SHAPES = {(32, 32, 3): (LEVELS, 2), (5, 7, 3): (range(STEPS + 1), 4), (3, 4, 1): (LEVELS, 4)}
# One image after another, as on a CPU; or many at once, as on a GPU and on a TPU.
FORMS = {'loop': (GATHER, None), 'vmapped gather': (GATHER, 16), 'vmapped one-hot': (ONE_HOT, 16)}


def operate(lookup, image, row, fill):
    height, width, channels = image.shape
    planes = image.transpose(2, 0, 1).reshape(channels, height * width)
    planes = apply_operation(planes, Parameters.unpacked(row), height, width, fill, lookup)
    return planes.reshape(channels, height, width).transpose(1, 2, 0)


@functools.cache
def compiled(form):
    lookup, batch_size = FORMS[form]
    return jax.jit(lambda *jobs: lax.map(lambda job: operate(lookup, *job), jobs, batch_size=batch_size))


@functools.cache
def jobs(shape):
    """(operation, sign, step, image), each a number, of what is tried, and a filling of its own."""
    steps, every = SHAPES[shape]
    numbers = [
        (OPERATIONS.index(name), sign, step, image)
        for name in OPERATIONS
        for sign in range(2 if name in pillow.SIGNED else 1)
        for step in steps
        for image in range(step % every, len(pillow.images(*shape)), every)
    ]
    return np.array(numbers), np.random.default_rng(0).choice(np.array([0, 128, 255], np.int32), len(numbers))


@functools.cache
def outcome(form, shape, every=1):
    numbers, fills = (part[::every] for part in jobs(shape))
    rows = parameter_table(*shape[:2])[tuple(numbers[:, :3].T)]
    return np.asarray(compiled(form)(pillow.images(*shape)[numbers[:, 3]], rows, fills))


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_every_operation_equals_pillow_in_every_pixel(shape):
    pictures, wrong = [pillow.to_picture(image) for image in pillow.images(*shape)], []
    for out, (operation, sign, step, image), fill in zip(outcome('loop', shape), *jobs(shape)):
        name, signed = OPERATIONS[operation], 1 - 2 * int(sign)
        expected = pillow.operate(name, pictures[image], int(step), signed, int(fill))
        if not np.array_equal(out, pillow.to_image(expected)):
            wrong.append((name, signed, step, image))
    assert not wrong


@pytest.mark.parametrize(
    ('form', 'shape'),
    [('vmapped gather', (5, 7, 3)), ('vmapped one-hot', (5, 7, 3)), ('vmapped one-hot', (32, 32, 3))],
)
def test_the_forms_are_equal(form, shape):
    assert np.array_equal(outcome(form, shape, every=13), outcome('loop', shape)[::13])


@pytest.mark.parametrize(('lookup', 'expected'), [(GATHER, {'gather', 'scatter-add'}), (ONE_HOT, set())])
def test_the_one_hot_form_has_no_gather_or_scatter(lookup, expected):
    shapes = [((4, 8, 8, 3), jnp.uint8), ((4, 10), jnp.int32), ((4,), jnp.int32)]
    traced = jax.make_jaxpr(jax.vmap(functools.partial(operate, lookup)))(*(jax.ShapeDtypeStruct(*s) for s in shapes))
    assert set(re.findall(r'= (gather|scatter[-a-z]*)\[', str(traced))) == expected


def test_the_mean_of_a_large_bright_image_does_not_overflow():
    side = 2100
    degenerate = blend.blend(np.full((1, side**2), 255, np.uint8), blend.KINDS.index('contrast'), 0.0, side, side)
    assert np.all(degenerate == 255)
