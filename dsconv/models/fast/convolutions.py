"""Convolutions in the form that is fast on the platform, with custom gradients; the results equal XLA's."""

import functools

import jax
import numpy as np
from jax import lax

from dsconv.models.fast.depthwise import depthwise_conv, nhwc
from dsconv.models.fast.folding import WHOLE, with_neighbours


def conv_general_dilated(
    x, kernel, strides, padding, lhs_dilation=1, rhs_dilation=1, feature_group_count=1, layout=WHOLE,
    depthwise_form='auto', **_,
):  # fmt: skip
    """Convolves images, with the arguments of `lax.conv_general_dilated` that `nn.Conv` passes.

    Args:
      x: `(batch, height, width, channels)`.
      kernel: `(k, k, channels / feature_group_count, features)`, of the dtype of `x`.
      strides: (s, s).
      padding: 'SAME', 'VALID' or ((above, below), (left, right)).
      feature_group_count: 1, or the number of channels.
      layout: layout of folded images; only a depthwise convolution with odd k and padding k // 2 reads across parts.
      depthwise_form: `form` of `depthwise.depthwise_conv`.
      **_: ignored: the dimension numbers and the precision, which must be the defaults of `nn.Conv`.

    Returns `(batch, …, …, features)`, of the dtype of `x`. Raises NotImplementedError for a kernel that is not square,
    unequal strides, or dilation.
    """
    if len({*kernel.shape[:2]}) > 1 or len({*strides}) > 1 or {*np.ravel(lhs_dilation), *np.ravel(rhs_dilation)} != {1}:
        raise NotImplementedError('takes square kernels, equal strides and no dilation: use a plain nn.Conv')
    size, stride, half = len(kernel), strides[0], len(kernel) // 2
    sides = x.shape[1:3]
    pads = lax.padtype_to_pads(sides, kernel.shape[:2], strides, padding) if isinstance(padding, str) else padding
    pads = tuple(map(tuple, pads))
    if feature_group_count == x.shape[-1] == kernel.shape[-1] and size % 2 and pads == ((half, half),) * 2:
        if is_folded := layout.parts > 1 and half > 0:
            x = with_neighbours(x, half, layout)
        # On a CPU, XLA's form takes thirty times as long, although this one also computes outputs that a stride skips.
        return subsample(depthwise_conv(x, kernel, 0 if is_folded else half, depthwise_form), stride)
    if feature_group_count > 1:
        return nhwc(x, kernel, strides, padding=pads, feature_group_count=feature_group_count)
    if size == stride and not any(side % size for side in sides) and pads == ((0, 0),) * 2:
        return _embed_patches(x, kernel)
    return conv(x, kernel, stride, pads)


def subsample(x, stride: int):
    """Returns `x[:, ::stride, ::stride]` by a slice; JAX 0.9 compiles the indexing to a gather."""
    return x if stride == 1 else lax.slice(x, (0,) * x.ndim, x.shape, (1, stride, stride, 1))


def dot_general(x, kernel, *_, **__):
    """Multiplies `(…, channels)` by `(channels, features)`; the arguments are those that `nn.Dense` passes."""
    return pointwise_conv(x, kernel)


def convolution_of(layer, layout=WHOLE, depthwise_form='auto'):
    """Returns the pure function (x, kernel) → output without bias of an `nn.Dense` or an `nn.Conv`.

    The padding of the `nn.Conv` must be in a form that `conv_general_dilated` takes.
    """
    if not hasattr(layer, 'kernel_size'):
        return pointwise_conv
    strides = layer.strides if isinstance(layer.strides, tuple) else (layer.strides or 1,) * 2
    options = dict(strides=strides, padding=layer.padding, layout=layout)
    options |= dict(lhs_dilation=layer.input_dilation, rhs_dilation=layer.kernel_dilation)
    options |= dict(feature_group_count=layer.feature_group_count, depthwise_form=depthwise_form)
    return functools.partial(conv_general_dilated, **options)


@jax.custom_vjp
def pointwise_conv(x, kernel):
    """Multiplies `(…, channels)` by `(channels, features)`."""
    return x @ kernel


def _pointwise_backward(residuals, gradient):
    x, kernel = residuals
    # Autodiff computes the transpose of gradientᵀ·x instead, which takes XLA's CPU backend four times as long.
    places = tuple(range(x.ndim - 1))
    return gradient @ kernel.T, lax.dot_general(x, gradient, ((places, places), ((), ())))


pointwise_conv.defvjp(lambda x, kernel: (pointwise_conv(x, kernel), (x, kernel)), _pointwise_backward)


def _embed_patches(images, kernel):
    """Convolves patches that do not overlap, as a dense layer over each patch.

    As a strided convolution, the gradient of the kernel takes XLA's CPU backend a third of a training step of Small.
    """
    (batch, height, width, channels), size = images.shape, len(kernel)
    rows, columns = height // size, width // size
    patches = images.reshape(batch, rows, size, columns, size, channels).swapaxes(2, 3)
    return pointwise_conv(patches.reshape(batch, rows, columns, -1), kernel.reshape(-1, kernel.shape[-1]))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(x, kernel, stride: int, pads):
    """Convolves `(batch, height, width, channels)` by `(k, k, channels, features)`.

    `pads` are the zeros ((above, below), (left, right)). The result is
    `(batch, (height + above + below − k) // stride + 1, …, features)`.

    The gradients equal those of autodiff, with the axes moved so that both are convolutions of NHWC by HWIO. XLA's CPU
    backend moves the axes itself, except in a loop, e.g. over steps or microbatches: there, the gradients of autodiff
    take a hundred times as long.
    """
    return nhwc(x, kernel, padding=pads, window_strides=(stride,) * 2)


def _conv_backward(stride, pads, residuals, gradient):
    x, kernel = residuals
    size, dilation = len(kernel), (stride,) * 2
    # Rows and columns that no window reaches.
    rests = [(side + sum(pad) - size) % stride for side, pad in zip(x.shape[1:3], pads, strict=True)]
    around = [(size - 1 - low, size - 1 - high + rest) for (low, high), rest in zip(pads, rests, strict=True)]
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    dx = nhwc(gradient, turned, padding=around, lhs_dilation=dilation)
    by_channel, by_place = x.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3)
    within = [(low, high - rest) for (low, high), rest in zip(pads, rests, strict=True)]
    return dx, nhwc(by_channel, by_place, padding=within, rhs_dilation=dilation).transpose(1, 2, 0, 3)


conv.defvjp(lambda x, kernel, *options: (conv(x, kernel, *options), (x, kernel)), _conv_backward)
