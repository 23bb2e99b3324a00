"""A convolution, the activation and batch norm, differentiated as one operation.

The forward pass stores the input and the output of the convolution, and the backward pass recomputes the activation:
memory bandwidth limits a training step, on CPU and on TPU.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dsconv.models.batch_norm import EPSILON, BatchNorm, affine, by_group, statistics
from dsconv.models.fast.convolutions import convolution_of
from dsconv.models.fast.folding import WHOLE, Layout
from dsconv.models.layers import ACTIVATIONS, NORMS, ConvUnit


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def conv_unit(convolve, activation, groups: int, x, kernel, bias, scale, shift):
    """Applies a convolution, the activation, then batch norm over `groups` equal parts of the batch.

    Args:
      convolve: function (x, kernel) → `(batch, height, width, features)`.
      activation: elementwise function.
      groups: number of groups; divides the batch.
      x, kernel: input and kernel of the convolution, of the same dtype; the result has that dtype too.
      bias, scale, shift: `(features,)`, float32; their gradients, which are summed over devices, are float32 too.

    Returns (`(batch, height, width, features)`, mean, variance). The statistics are float32 `(groups, 1, features)`;
    no gradient flows back from these two outputs.
    """
    return _forward(convolve, activation, groups, x, kernel, bias, scale, shift)[0]


def _forward(convolve, activation, groups, x, kernel, bias, scale, shift):
    output = convolve(x, kernel) + bias.astype(x.dtype)
    active = activation(by_group(output, groups))
    mean, variance = statistics(active)
    y = affine(active, mean, variance, scale, shift, x.dtype).reshape(output.shape)
    return (y, mean, variance), (x, kernel, output, mean, variance, scale)


def _backward(convolve, activation, groups, residuals, gradients):
    x, kernel, output, mean, variance, scale = residuals
    dy, inverse = gradients[0], lax.rsqrt(variance + EPSILON)
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
        """Recomputes `d_output` in each product that uses it: on a TPU, cheaper than one write and two reads of it.

        The barrier hides from XLA that both are equal. The gradient of the bias is the sum of `d_output`.
        """
        dx, _ = through_convolution(d_output(output, dy))
        _, d_kernel = through_convolution(d_output(*lax.optimization_barrier((output, dy))))
        sums = factor * _sum(derivative, wide_dy) - slope * _sum(derivative, active) - offset * _sum(derivative)
        return dx, d_kernel, jnp.sum(sums, axis=(0, 1))

    dx, d_kernel, d_bias = lax.platform_dependent(output, dy, cpu=written_once, default=never_written)
    return dx, d_kernel, d_bias, jnp.sum(dy_normalised_sum, axis=(0, 1)), jnp.sum(dy_sum, axis=(0, 1))


def _with_derivative(activation, x):
    return jax.jvp(activation, (x,), (jnp.ones_like(x),))


def _sum(*factors):
    """Sums a product over the positions of each group: `(groups, 1, features)`."""
    product = math.prod(factors)
    # With one group, a sum over the second axis alone takes XLA's CPU backend a hundred times as long.
    axes = (0, 1) if len(product) == 1 else 1
    return jnp.sum(product, axis=axes, keepdims=True)


conv_unit.defvjp(_forward, _backward)


class FastConvUnit(ConvUnit):
    """A `ConvUnit` for a convolution with bias, with the same result; `layout` is the layout of folded images."""

    layout: Layout = WHOLE
    depthwise_form: str = 'auto'

    @nn.compact
    def __call__(self, x, train: bool):
        if self.is_initializing():
            return super().__call__(x, train)
        convolution, activation = self.convolution, ACTIVATIONS[self.activation]
        kernel, bias = (convolution.get_variable('params', name) for name in ('kernel', 'bias'))
        kernel = kernel.astype(self.dtype)
        convolve, x = convolution_of(convolution, self.layout, self.depthwise_form), x.astype(self.dtype)
        if not train or self.norm != 'batch':
            active = activation(convolve(x, kernel) + bias.astype(self.dtype))
            return NORMS[self.norm](active, train, self.groups, self.dtype)
        norm = BatchNorm(self.groups, self.dtype, name='batch_norm')
        scale, shift, running = norm.weights(bias.size)
        y, mean, variance = conv_unit(convolve, activation, self.groups, x, kernel, bias, scale, shift)
        norm.update(running, mean, variance)
        return y
