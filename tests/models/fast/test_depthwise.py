"""The depthwise convolution against XLA's own grouped convolution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dsconv.models.fast import depthwise
from dsconv.models.fast.depthwise import depthwise_conv

SHAPES = {
    'odd batch': (3, 5, 7, 2, 3),
    'iterations over images and rows': (16, 19, 4, 2, 3),
    'image smaller than the kernel': (6, 2, 3, 2, 5),
}


def draw(batch, height, width, channels, kernel_size):
    """A float64 input, kernel and gradient of the output."""
    generator = np.random.default_rng(0)
    shapes = ((batch, height, width, channels), (kernel_size, kernel_size, 1, channels))
    x, kernel = (generator.normal(size=shape) for shape in shapes)
    return x, kernel, generator.normal(size=x.shape)


def of_xla(x, kernel, gradient):
    """The output, and both gradients by JAX's own differentiation of a grouped convolution."""
    options = dict(dimension_numbers=('NHWC', 'HWIO', 'NHWC'), feature_group_count=x.shape[3])
    convolve = functools.partial(lax.conv_general_dilated, window_strides=(1, 1), padding='SAME', **options)
    y, pull_back = jax.vjp(convolve, x, kernel)
    return y, *pull_back(gradient)


def with_gradients(x, kernel, gradient, form='auto'):
    """The output, the gradient of the input and that of the kernel; the height is kept."""
    y, pull_back = jax.vjp(lambda x, kernel: depthwise_conv(x, kernel, len(kernel) // 2, form), x, kernel)
    return y, *pull_back(gradient)


@pytest.mark.parametrize('shape', SHAPES.values(), ids=SHAPES.keys())
def test_every_form_equals_xlas_in_float64(shape):
    with jax.enable_x64(True):
        in_all_forms = jax.jit(lambda *arrays: [with_gradients(*arrays, form) for form in depthwise.FORMS])
        expected = of_xla(*draw(*shape))
        for results in in_all_forms(*draw(*shape)):
            for result, reference in zip(results, expected, strict=True):
                assert result.dtype == np.float64
                np.testing.assert_allclose(result, reference, rtol=1e-11, atol=1e-11)


def test_a_bfloat16_kernel_gradient_is_summed_in_float32():
    # 1 + 1 + … in bfloat16 ends at 256: 8 bits of mantissa.
    ones = jnp.ones((16, 16, 16, 1), jnp.bfloat16)
    gradient = jax.jit(with_gradients)(ones, jnp.ones((1, 1, 1, 1), jnp.bfloat16), ones)[2]
    assert float(gradient[0, 0, 0, 0]) == 16**3


@pytest.mark.parametrize(
    ('form', 'platform', 'convolutions'),
    [('lax', 'cpu', 3), ('auto', 'tpu', 3), ('auto', 'cpu', 0), ('shift', 'tpu', 0)],
)
def test_a_form_suits_the_platform_or_is_asked_for(form, platform, convolutions):
    shapes = ((8, 6, 6, 4), (3, 3, 1, 4), (8, 6, 6, 4))
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    traced = jax.jit(functools.partial(with_gradients, form=form)).trace(*arguments)
    assert traced.lower(lowering_platforms=(platform,)).as_text().count('stablehlo.convolution') == convolutions
