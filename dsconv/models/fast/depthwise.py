"""Depthwise convolution (stride 1, SAME padding, odd kernel) in a form that is fast on the target platform.

XLA's grouped convolution is very slow on CPU, and its kernel gradient is even slower. On CPU the layer is therefore a
sum of k² shifted products; elsewhere it is XLA's grouped convolution. Both forms compute the same function.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

_TOGETHER, _ROWS = 8, 16  # images, and rows of each image, in one iteration of the kernel gradient


def _wide(dtype):
    """Returns the accumulation dtype: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)


# Jitted separately, so that it is traced once and not for each layer: this saves a third of the start-up time.
@functools.partial(jax.jit, static_argnames='pad_rows')
def _shift_forward(x, kernel, pad_rows):
    half, width = len(kernel) // 2, x.shape[2]
    height = x.shape[1] + 2 * (pad_rows - half)
    padded = jnp.pad(x.astype(_wide(x.dtype)), ((0, 0), (pad_rows, pad_rows), (half, half), (0, 0)))
    taps = kernel.astype(padded.dtype)
    total = sum(
        padded[:, i : i + height, j : j + width] * taps[i, j, 0] for i in range(len(kernel)) for j in range(len(kernel))
    )
    return total.astype(x.dtype)


@functools.partial(jax.jit, static_argnames=('kernel_size', 'pad_rows'))
def _shift_kernel_gradient(x, gradient, kernel_size, pad_rows):
    """Sums the gradient of each tap over images, rows and columns: `(k, k, 1, channels)`, in float32 or wider.

    One iteration takes `_ROWS` rows of several images and adds them up in registers, so that the k² sums read from the
    cache and write little: three times as fast as k² reductions of whole images. With fewer than about 16 rows, XLA's
    CPU backend calls a library for the sums and takes four times as long, so the rows are padded to a multiple of 16.
    The images of one iteration are a stride apart, so that a batch sharded over devices is never gathered.
    """
    (images, height, width, channels), half = gradient.shape, kernel_size // 2
    together, rows_below = math.gcd(images, _TOGETHER), -height % _ROWS
    x = jnp.pad(x, ((0, 0), (pad_rows, pad_rows + rows_below), (half, half), (0, 0)))
    gradient = jnp.pad(gradient, ((0, 0), (0, rows_below), (0, 0), (0, 0)))
    x, gradient = (a.reshape(together, images // together, *a.shape[1:]) for a in (x, gradient))
    parts = gradient.shape[2] // _ROWS
    taps = [(i, j) for i in range(kernel_size) for j in range(kernel_size)]

    def take(a, iteration, rows):
        start = (0, iteration // parts, iteration % parts * _ROWS, 0, 0)
        return lax.dynamic_slice(a, start, (together, 1, rows, *a.shape[3:]))[:, 0].astype(_wide(a.dtype))

    def add_rows(iteration, sums):
        some, some_gradient = take(x, iteration, _ROWS + kernel_size - 1), take(gradient, iteration, _ROWS)
        return [
            total + sum(some[:, row + i, j : j + width] * some_gradient[:, row] for row in range(_ROWS))
            for total, (i, j) in zip(sums, taps, strict=True)
        ]

    zeros = [jnp.zeros((together, width, channels), _wide(x.dtype))] * len(taps)
    sums = lax.fori_loop(0, images // together * parts, add_rows, zeros)
    return jnp.stack([jnp.sum(total, axis=(0, 1)) for total in sums]).reshape(kernel_size, kernel_size, 1, channels)


def _shift_backward(x, kernel, gradient, pad_rows):
    """Returns both gradients; the input gradient is the same operation with the kernel rotated by 180°."""
    x_gradient = _shift_forward(gradient, kernel[::-1, ::-1], len(kernel) - 1 - pad_rows)
    return x_gradient, _shift_kernel_gradient(x, gradient, len(kernel), pad_rows).astype(kernel.dtype)


def nhwc(x, kernel, window_strides=(1, 1), **options):
    """Convolves `(batch, height, width, channels)` by `(k, k, …, features)`; `options` are passed to `lax`."""
    dimensions = ('NHWC', 'HWIO', 'NHWC')
    return lax.conv_general_dilated(x, kernel, window_strides, dimension_numbers=dimensions, **options)


def _lax_forward(x, kernel, pad_rows):
    half = len(kernel) // 2
    return nhwc(x, kernel, padding=((pad_rows, pad_rows), (half, half)), feature_group_count=x.shape[-1])


def _lax_backward(x, kernel, gradient, pad_rows):
    return jax.vjp(lambda x, kernel: _lax_forward(x, kernel, pad_rows), x, kernel)[1](gradient)


FORMS = ('auto', 'shift', 'lax')


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise_conv(x, kernel, pad_rows: int, form: str = 'auto'):
    """Convolves each channel of zero-padded images separately, with stride 1.

    Args:
      x: `(batch, height, width, channels)`, floating point.
      kernel: `(k, k, 1, channels)`, k odd, of the dtype of `x`.
      pad_rows: rows of zeros added above and below; k // 2 keeps the height. The width is always kept.
      form: 'shift' adds up k² shifted products, 'lax' is XLA's grouped convolution, 'auto' is 'shift' on CPU and 'lax'
        elsewhere.

    Returns `(batch, height + 2 · (pad_rows − k // 2), width, channels)`, of the dtype of `x`. Reverse-mode
    differentiable.
    """
    return _in_form(form, _shift_forward, _lax_forward, pad_rows, x, kernel)


def _backward(pad_rows, form, residuals, gradient):
    return _in_form(form, _shift_backward, _lax_backward, pad_rows, *residuals, gradient)


def _in_form(form, shift, convolution, pad_rows, *arrays):
    shift, convolution = (functools.partial(f, pad_rows=pad_rows) for f in (shift, convolution))
    if form == 'auto':
        return lax.platform_dependent(*arrays, cpu=shift, default=convolution)
    return {'shift': shift, 'lax': convolution}[form](*arrays)


depthwise_conv.defvjp(lambda x, kernel, *options: (depthwise_conv(x, kernel, *options), (x, kernel)), _backward)
