"""Convolution, activation and norm as one operation, against autodiff of the three."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsconv.models.batch_norm import EPSILON
from dsconv.models.fast.convolutions import convolution_of
from dsconv.models.fast.unit import conv_unit
from dsconv.models.layers import ACTIVATIONS

LAYERS = {'pointwise': nn.Dense(3), 'depthwise': nn.Conv(5, (3, 3), feature_group_count=5)}


def draw(layer):
    """A float64 input, and the weights of the layer and of the norm behind it."""
    generator = np.random.default_rng(0)
    shape = jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros((1, 4, 6, 5)))['params']['kernel'].shape
    features = shape[-1:]
    sizes = ((12, 4, 6, 5), shape, features, features, features)
    return [generator.normal(size=size) for size in sizes]


def reference(layer, activation, groups, x, kernel, bias, scale, shift):
    active = activation(layer.apply({'params': {'kernel': kernel, 'bias': bias}}, x))
    grouped = active.reshape(groups, -1, active.shape[-1])
    mean, var = jnp.mean(grouped, 1, keepdims=True), jnp.var(grouped, 1, keepdims=True)
    return ((grouped - mean) / jnp.sqrt(var + EPSILON) * scale + shift).reshape(active.shape)


@pytest.mark.parametrize(
    ('name', 'activation', 'groups', 'form'),
    [
        ('pointwise', 'gelu', 1, 'cpu'),
        ('depthwise', 'leaky_relu', 3, 'cpu'),
        ('pointwise', 'gelu', 3, 'default'),  # the form of accelerators
    ],
)
def test_output_and_gradients_equal_autodiff_in_float64(name, activation, groups, form, monkeypatch):
    monkeypatch.setattr(jax.lax, 'platform_dependent', lambda *arrays, **forms: forms[form](*arrays))
    layer, activation = LAYERS[name], ACTIVATIONS[activation]

    def fused(*arguments):
        return conv_unit(convolution_of(layer), activation, groups, *arguments)[0]

    def weighted(function, *arguments):
        y = function(*arguments)
        return jnp.sum(y * jnp.cos(jnp.arange(y.size).reshape(y.shape))), y

    with jax.enable_x64(True):
        arguments = draw(layer)
        results = [
            jax.jit(jax.grad(functools.partial(weighted, function), argnums=range(5), has_aux=True))(*arguments)
            for function in (fused, functools.partial(reference, layer, activation, groups))
        ]
    for result, expected in zip(*map(jax.tree.leaves, results), strict=True):
        assert result.dtype == np.float64
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-10)
