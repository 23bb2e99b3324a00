"""Depthwise convolution, stride 1, SAME padding, odd kernel: the form follows the platform compiled for.

XLA's grouped convolution is very slow on CPU, its weight gradient slower still, so there the layer is k² shifted
products added up. On TPU and GPU XLA's own convolution is used. Both are the same mathematics;
`tests/models/test_depthwise.py` holds them together in float64.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dsconv.models.folding import Layout, with_neighbours


def _windows(x, kernel_size, pad_rows):
    """The k² views of zero-padded `x` that a k×k kernel sees, each of the output's shape, in row-major kernel order."""
    half, width = kernel_size // 2, x.shape[2]
    height = x.shape[1] + 2 * (pad_rows - half)
    padded = jnp.pad(x, ((0, 0), (pad_rows, pad_rows), (half, half), (0, 0)))
    return [padded[:, i : i + height, j : j + width] for i in range(kernel_size) for j in range(kernel_size)]


def _shift_forward(x, kernel, pad_rows):
    taps, windows = kernel.reshape(-1, kernel.shape[-1]), _windows(x, len(kernel), pad_rows)
    return functools.reduce(jnp.add, (window * tap for window, tap in zip(windows, taps, strict=True)))


def _shift_backward(x, kernel, gradient, pad_rows):
    """The input's gradient is the same operation with the kernel turned by 180°; the kernel's is k² reductions.

    The reductions go through the batch a few images at a time, so that images stay in the cache between the k² reads:
    from twice to five times as fast as the whole batch at once. The images of one turn are a stride apart, so that
    a batch sharded over devices is never gathered.
    """
    images, kernel_size, channels = x.shape[0], len(kernel), kernel.shape[-1]
    together = math.gcd(images, 8)
    inputs, gradients = (a.reshape(together, images // together, *a.shape[1:]) for a in (x, gradient))

    def add_images(turn, total):
        some, some_gradient = (lax.dynamic_index_in_dim(a, turn, axis=1, keepdims=False) for a in (inputs, gradients))
        products = [
            jnp.sum(window * some_gradient, axis=(0, 1, 2), dtype=total.dtype)
            for window in _windows(some, kernel_size, pad_rows)
        ]
        return total + jnp.stack(products)

    zeros = jnp.zeros((kernel_size**2, channels), jnp.promote_types(x.dtype, jnp.float32))
    kernel_gradient = lax.fori_loop(0, images // together, add_images, zeros)
    x_gradient = _shift_forward(gradient, kernel[::-1, ::-1], kernel_size - 1 - pad_rows)
    return x_gradient, kernel_gradient.reshape(kernel.shape).astype(kernel.dtype)


def _lax_forward(x, kernel, pad_rows):
    half, dimensions = len(kernel) // 2, ('NHWC', 'HWIO', 'NHWC')
    padding = ((pad_rows, pad_rows), (half, half))
    return lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=dimensions, feature_group_count=x.shape[-1]
    )


def _lax_backward(x, kernel, gradient, pad_rows):
    return jax.vjp(lambda x, kernel: _lax_forward(x, kernel, pad_rows), x, kernel)[1](gradient)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_conv(x, kernel, pad_rows: int):
    """Depthwise convolution with stride 1 over zero-padded images.

    Args:
      x: `(batch, height, width, channels)`, floating point.
      kernel: `(k, k, 1, channels)`, k odd, of the dtype of `x`.
      pad_rows: rows of zeros added above and below; k // 2 keeps the height. The width is always kept.

    Returns:
      `(batch, height + 2 · (pad_rows − k // 2), width, channels)`, of the dtype of `x`. Reverse-mode differentiable.

    Raises:
      ValueError: k is even; there SAME padding is not symmetric.
    """
    if len(kernel) % 2 == 0:
        raise ValueError(f'a depthwise kernel of {len(kernel)}×{len(kernel)} has no middle; take an odd size')
    shift, convolution = (functools.partial(f, pad_rows=pad_rows) for f in (_shift_forward, _lax_forward))
    return lax.platform_dependent(x, kernel, cpu=shift, default=convolution)


def _forward(x, kernel, pad_rows):
    return depthwise_conv(x, kernel, pad_rows), (x, kernel)


def _backward(pad_rows, residuals, gradient):
    shift, convolution = (functools.partial(f, pad_rows=pad_rows) for f in (_shift_backward, _lax_backward))
    return lax.platform_dependent(*residuals, gradient, cpu=shift, default=convolution)


depthwise_conv.defvjp(_forward, _backward)


class DepthwiseConv(nn.Module):
    """A layer of `depthwise_conv` with bias: `(batch, height, width, channels)` → the same shape, in `dtype`.

    `layout` says how images stand in the batch axis.
    """

    kernel_size: int
    dtype: jnp.dtype = jnp.float32
    layout: Layout = Layout()

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel_size, self.kernel_size, 1, x.shape[-1])
        kernel = self.param('kernel', nn.initializers.glorot_uniform(), shape)
        bias = self.param('bias', nn.initializers.zeros, shape[-1:])
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        half = self.kernel_size // 2
        if self.layout.parts == 1 or not half:
            return depthwise_conv(x, kernel, half) + bias
        return depthwise_conv(with_neighbours(x, half, self.layout), kernel, 0) + bias
