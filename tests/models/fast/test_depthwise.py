"""The depthwise convolution against NumPy, SciPy and XLA's own grouped convolution."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dsconv.models.fast import depthwise
from dsconv.models.fast.depthwise import depthwise_conv
from tests.quick import quick_jit

SHAPES = {
    'kernel 3, odd batch': (3, 5, 7, 2, 3),
    'kernel 5, a batch of two iterations': (16, 6, 4, 3, 5),
    'kernel 3, rows of two iterations': (8, 19, 4, 2, 3),
    'image smaller than the kernel': (6, 2, 3, 2, 5),
}


def draw(batch, height, width, channels, kernel_size):
    """A float64 input, kernel and gradient of the output."""
    generator = np.random.default_rng(0)
    shapes = ((batch, height, width, channels), (kernel_size, kernel_size, 1, channels))
    x, kernel = (generator.normal(size=shape) for shape in shapes)
    return x, kernel, generator.normal(size=x.shape)


def scipy_forward(x, kernel):
    y = np.empty_like(x)
    for image, channel in np.ndindex(x.shape[0], x.shape[3]):
        plane, weights = x[image, ..., channel], kernel[..., 0, channel]
        y[image, ..., channel] = scipy.ndimage.correlate(plane, weights, mode='constant')
    return y


def numpy_backward(x, kernel, gradient):
    """Each output pixel hands its gradient to the pixels and the weights it was made of."""
    (_, height, width, _), half = x.shape, len(kernel) // 2
    x_gradient, kernel_gradient = np.zeros_like(x), np.zeros_like(kernel)
    for row, column, i, j in np.ndindex(height, width, len(kernel), len(kernel)):
        source_row, source_column = row + i - half, column + j - half
        if 0 <= source_row < height and 0 <= source_column < width:
            here = gradient[:, row, column]
            x_gradient[:, source_row, source_column] += here * kernel[i, j, 0]
            kernel_gradient[i, j, 0] += np.sum(here * x[:, source_row, source_column], axis=0)
    return x_gradient, kernel_gradient


def same(x, kernel):
    """`depthwise_conv` that keeps the height."""
    return depthwise_conv(x, kernel, len(kernel) // 2)


def public(x, kernel, gradient):
    y, pull_back = jax.vjp(same, x, kernel)
    return y, *pull_back(gradient)


@quick_jit
def all_forms(x, kernel, gradient):
    """Output, input gradient and kernel gradient of each form; one program, as compiling is what takes the time."""
    half = len(kernel) // 2
    return {
        'shift': (depthwise._shift_forward(x, kernel, half), *depthwise._shift_backward(x, kernel, gradient, half)),
        'lax': (depthwise._lax_forward(x, kernel, half), *depthwise._lax_backward(x, kernel, gradient, half)),
        'public': public(x, kernel, gradient),
    }


@pytest.mark.parametrize('shape', SHAPES.values(), ids=SHAPES)
def test_every_form_equals_scipy_and_numpy_in_float64(shape):
    x, kernel, gradient = draw(*shape)
    with jax.enable_x64(True):
        results = jax.device_get(all_forms(x, kernel, gradient))
    expected = (scipy_forward(x, kernel), *numpy_backward(x, kernel, gradient))
    for form, result in results.items():
        for value, reference in zip(result, expected, strict=True):
            assert value.dtype == np.float64
            np.testing.assert_allclose(value, reference, rtol=1e-11, atol=1e-11, err_msg=form)


def test_a_bfloat16_kernel_gradient_is_summed_in_float32():
    # 1 + 1 + … in bfloat16 ends at 256: 8 bits of mantissa.
    ones = jnp.ones((16, 16, 16, 1), jnp.bfloat16)
    gradient = jax.jit(public)(ones, jnp.ones((1, 1, 1, 1), jnp.bfloat16), ones)[2]
    assert float(gradient[0, 0, 0, 0]) == 16**3


@pytest.fixture(scope='module')
def arguments():
    shapes = ((8, 6, 6, 4), (3, 3, 1, 4), (8, 6, 6, 4))
    return tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)


@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='compiles for the CPU')
def test_no_convolution_reaches_the_cpu(arguments):
    def calls_a_convolution(function, *arguments):
        # The opcode, or a library's; the bare word stands in the names of files and functions too.
        return re.search(r' convolution\(|custom-call', jax.jit(function).lower(*arguments).compile().as_text())

    assert calls_a_convolution(functools.partial(depthwise._lax_forward, pad_rows=1), *arguments[:2])
    assert not calls_a_convolution(public, *arguments)


@pytest.mark.parametrize(('form', 'platform', 'convolutions'), [('lax', 'cpu', 3), ('shift', 'tpu', 0)])
def test_a_form_may_be_asked_for(arguments, form, platform, convolutions):
    def chosen(x, kernel, gradient):
        y, pull_back = jax.vjp(lambda x, kernel: depthwise_conv(x, kernel, 1, form), x, kernel)
        return y, *pull_back(gradient)

    text = jax.jit(chosen).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
    assert text.count('stablehlo.convolution') == convolutions


@pytest.mark.skipif(jax.device_count() == 1, reason='needs several devices')
def test_a_sharded_batch_is_not_gathered():
    devices = jax.device_count()
    mesh = Mesh(np.array(jax.devices()), ('data',))
    batch, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (('data',), ()))
    x, kernel, gradient = (a.astype(np.float32) for a in draw(2 * devices, 4, 4, 2, 3))
    compiled = jax.jit(public, in_shardings=(batch, whole, batch)).lower(x, kernel, gradient).compile()
    assert not any(name in compiled.as_text() for name in ('all-gather', 'all-to-all', 'collective-permute'))
    placed = jax.device_put((x, kernel, gradient), (batch, whole, batch))
    for result, expected in zip(compiled(*placed), jax.jit(public)(x, kernel, gradient), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
