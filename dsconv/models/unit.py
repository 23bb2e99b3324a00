"""What the thesis's network is made of: a convolution, then the activation, then the norm.

With batch normalisation the three are differentiated as one operation: the backward pass needs the convolution's
output alone, and works the activation out again. A step moves activations through memory more than it computes, on
CPU as on TPU, and this moves fewer.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dsconv.models.layers import ACTIVATIONS, NORM_EPSILON, BatchNorm, affine, by_group, statistics


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def conv_unit(convolve, activation, groups: int, x, kernel, bias, scale, shift):
    """Batch norm over `groups` equal parts of the batch, of the activation of a convolution.

    Args:
      convolve: (x, kernel) → `(batch, height, width, features)`.
      activation: elementwise.
      groups: divides the batch.
      x, kernel, bias: the convolution's, of one dtype; the result has it too.
      scale, shift: `(features,)`, the norm's, float32.

    Returns:
      (`(batch, height, width, features)`, mean, variance), the statistics float32 `(groups, 1, features)`. They have
      no gradient.
    """
    return _forward(convolve, activation, groups, x, kernel, bias, scale, shift)[0]


def _forward(convolve, activation, groups, x, kernel, bias, scale, shift):
    output = convolve(x, kernel) + bias
    active = activation(by_group(output, groups))
    mean, variance = statistics(active)
    y = affine(active, mean, variance, scale, shift, x.dtype).reshape(output.shape)
    return (y, mean, variance), (x, kernel, output, mean, variance, scale)


def _backward(convolve, activation, groups, residuals, gradients):
    x, kernel, output, mean, variance, scale = residuals
    dy, inverse = gradients[0], lax.rsqrt(variance + NORM_EPSILON)
    wide_dy = by_group(dy, groups)
    active, derivative = _with_derivative(activation, by_group(output, groups))

    # The norm: d_active = factor · dy − slope · active − offset (Ioffe & Szegedy 2015, section 3).
    dy_sum = _sum(wide_dy)
    dy_normalised_sum = (_sum(wide_dy, active) - mean * dy_sum) * inverse
    factor, count = scale * inverse, active.shape[1]
    slope = factor * inverse * dy_normalised_sum / count
    offset = factor * dy_sum / count - slope * mean

    def d_output(output, dy):
        active, derivative = _with_derivative(activation, by_group(output, groups))
        return derivative * (factor * by_group(dy, groups) - slope * active - offset)

    def through_convolution(d_output):
        return jax.vjp(convolve, x, kernel)[1](d_output.astype(x.dtype).reshape(output.shape))

    def written_once(output, dy):
        written = d_output(output, dy)
        return *through_convolution(written), jnp.sum(written, axis=(0, 1))

    def never_written(output, dy):
        """Works `d_output` out inside each product that takes it: on a TPU cheaper than to write it and read it twice.

        The barrier hides from XLA that both are the same. The bias's gradient is the sum of `d_output`.
        """
        dx, _ = through_convolution(d_output(output, dy))
        _, d_kernel = through_convolution(d_output(*lax.optimization_barrier((output, dy))))
        sums = factor * _sum(derivative, wide_dy) - slope * _sum(derivative, active) - offset * _sum(derivative)
        return dx, d_kernel, jnp.sum(sums, axis=(0, 1))

    dx, d_kernel, d_bias = lax.platform_dependent(output, dy, cpu=written_once, default=never_written)
    return dx, d_kernel, d_bias.astype(x.dtype), jnp.sum(dy_normalised_sum, axis=(0, 1)), jnp.sum(dy_sum, axis=(0, 1))


def _with_derivative(activation, x):
    return jax.jvp(activation, (x,), (jnp.ones_like(x),))


def _sum(*factors):
    """The sum of a product over each group's places, `(groups, 1, features)`."""
    product = math.prod(factors)
    # Over the second axis alone, with one group, XLA's CPU backend takes a hundred times as long.
    axes = (0, 1) if len(product) == 1 else 1
    return jnp.sum(product, axis=axes, keepdims=True)


conv_unit.defvjp(_forward, _backward)


class ConvUnit(nn.Module):
    """A convolution, followed by the activation, followed by the norm, each of the latter chosen by name.

    `activation` is a key of `layers.ACTIVATIONS`, `norm` one of `layers.NORMS`; layer normalisation (Ba et al. 2016)
    is over the channels. The result is `(batch, height, width, features)` in `dtype`.
    """

    convolution: nn.Module
    activation: str = 'gelu'
    norm: str = 'batch'
    groups: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool):
        activation = ACTIVATIONS[self.activation]
        if self.norm == 'batch':
            norm = BatchNorm(self.groups, self.dtype, name='batch_norm')
            if not train:
                return norm(activation(self.convolution(x)), train)
            kernel, bias = self.convolution.weights(x.shape[-1])
            scale, shift, running = norm.weights(bias.size)
            y, mean, variance = conv_unit(
                self.convolution.apply_kernel(),
                activation,
                self.groups,
                x.astype(self.dtype),
                kernel,
                bias,
                scale,
                shift,
            )
            norm.update(running, mean, variance)
            return y
        x = activation(self.convolution(x))
        if self.norm == 'layer':
            return nn.LayerNorm(epsilon=NORM_EPSILON, dtype=self.dtype, name='layer_norm')(x)
        return x
