"""Convolutions against XLA's own, and the layers of Flax that take them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dsconv.models.fast.convolutions import conv, conv_general_dilated, convolution_of, dot_general


@pytest.mark.parametrize(
    ('size', 'stride', 'pads', 'height'),
    [
        (3, 2, (1, 1), 7),
        (11, 4, (0, 0), 16),
        (2, 1, (0, 1), 5),  # SAME for an even kernel
    ],
)
def test_the_convolution_and_its_gradients_are_those_of_xla(size, stride, pads, height):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2, height, height + 1, 3)).astype(np.float32)
    kernel = generator.normal(size=(size, size, 3, 4)).astype(np.float32)

    def of_xla(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), (pads, pads), dimension_numbers=('NHWC', 'HWIO', 'NHWC')
        )

    @jax.jit
    def both(x, kernel):
        expected, transposed = jax.vjp(of_xla, x, kernel)
        got, ours = jax.vjp(lambda x, kernel: conv(x, kernel, stride, (pads, pads)), x, kernel)
        return (got, *ours(jnp.cos(got))), (expected, *transposed(jnp.cos(expected)))

    for got, expected in zip(*both(x, kernel)):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_in_a_loop_too_no_gradient_moves_the_axes_inside_a_convolution():
    """XLA's CPU backend takes such a convolution by the slow way: a hundred times the time."""
    x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))

    def step(kernel, x):
        return kernel - jax.grad(lambda kernel: jnp.sum(jnp.square(conv(x, kernel, 2, ((1, 1), (1, 1))))))(kernel), None

    text = jax.jit(lambda kernel, x: lax.scan(step, kernel, x[None])[0]).lower(kernel, x).as_text()
    layouts = [line.split('dim_numbers = ')[1].split(',  ')[0] for line in text.splitlines() if 'convolution(' in line]
    assert layouts
    assert all(layout.startswith('[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]') for layout in layouts)


@pytest.mark.parametrize(
    'layer',
    [
        nn.Conv(4, (3, 3), (2, 2)),  # patches that overlap
        nn.Conv(4, (2, 2), (2, 2), padding='VALID'),  # a column is left over
        nn.Conv(3, (3, 3), feature_group_count=3),
        nn.Conv(3, (3, 3), (2, 2), padding=((1, 1), (1, 1)), feature_group_count=3),
        nn.Conv(3, (2, 2), feature_group_count=3),  # an even kernel, which the depthwise form has not
        nn.Dense(4),
    ],
    ids=str,
)
def test_a_layer_of_flax_is_the_same(layer):
    x = np.random.default_rng(0).normal(size=(2, 6, 7, 3)).astype(np.float32)
    variables = layer.init(jax.random.key(0), x)
    plugged = (
        layer.clone(dot_general=dot_general)
        if isinstance(layer, nn.Dense)
        else layer.clone(conv_general_dilated=conv_general_dilated)
    )
    expected = layer.apply(variables, x)
    np.testing.assert_allclose(plugged.apply(variables, x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(convolution_of(layer)(x, variables['params']['kernel']), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    'layer',
    [nn.Conv(4, (3, 1)), nn.Conv(4, (3, 3), (1, 2)), nn.Conv(4, (3, 3), kernel_dilation=2)],
    ids=str,
)
def test_a_layer_that_it_cannot_compute_is_refused(layer):
    x = jnp.ones((2, 6, 6, 3))
    variables = layer.init(jax.random.key(0), x)
    with pytest.raises(NotImplementedError):
        layer.clone(conv_general_dilated=conv_general_dilated).apply(variables, x)
    with pytest.raises(NotImplementedError):
        convolution_of(layer)(x, variables['params']['kernel'])
