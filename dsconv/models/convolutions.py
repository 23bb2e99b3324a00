"""Convolutions of the networks: a layer owns a kernel and a bias, and has a pure function that applies the kernel.

A `unit.ConvUnit` asks a layer for the two, so that convolution, activation and norm can be differentiated as one.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dsconv.models.depthwise import depthwise_conv
from dsconv.models.folding import Layout, fold, with_neighbours

glorot_uniform = nn.initializers.glorot_uniform()  # Keras' default, and so the thesis's


class Convolution(nn.Module):
    """A convolution with bias. A layer says the shape of its kernel and how to apply it.

    `dtype` is that of the computation; kernel and bias are kept in float32. `layout` says how the images of the batch
    stand.
    """

    dtype: jnp.dtype = jnp.float32
    layout: Layout = Layout()

    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        """The shape for an input of `channels`; the last axis is the output's channels."""
        raise NotImplementedError

    def apply_kernel(self) -> Callable:
        """A pure function (x, kernel) → the output without bias, free of this module."""
        raise NotImplementedError

    @nn.compact
    def weights(self, channels: int):
        """Kernel and bias in `dtype`, for an input of `channels`."""
        shape = self.kernel_shape(channels)
        kernel = self.param('kernel', glorot_uniform, shape)
        bias = self.param('bias', nn.initializers.zeros, shape[-1:])
        return kernel.astype(self.dtype), bias.astype(self.dtype)

    def __call__(self, x):
        kernel, bias = self.weights(x.shape[-1])
        return self.apply_kernel()(x.astype(self.dtype), kernel) + bias


class PointwiseConv(Convolution):
    """A 1×1 convolution, that is a dense layer over the channels: `(…, channels)` → `(…, features)`."""

    features: int = 1

    def kernel_shape(self, channels):
        return channels, self.features

    def apply_kernel(self):
        return pointwise_conv


class DepthwiseConv(Convolution):
    """A k×k convolution of each channel by itself: `(batch, height, width, channels)` → the same shape."""

    kernel_size: int = 3
    form: str = 'auto'  # of `depthwise.depthwise_conv`

    def kernel_shape(self, channels):
        return self.kernel_size, self.kernel_size, 1, channels

    def apply_kernel(self):
        return functools.partial(_folded_depthwise_conv, layout=self.layout, form=self.form)


class PatchEmbedding(Convolution):
    """The stem (thesis, equation 1): a convolution with stride `patch_size`.

    `(batch, height, width, channels)` → `(parts · batch, height / patch_size / parts, width / patch_size, features)`,
    folded as `layout` says. A `kernel_size` above the patch size looks at the neighbouring pixels too, with SAME
    padding.
    """

    features: int = 1
    patch_size: int = 1
    kernel_size: int = 1

    def kernel_shape(self, channels):
        return self.kernel_size, self.kernel_size, channels, self.features

    def apply_kernel(self):
        form = _embed_patches if self.kernel_size == self.patch_size else _embed_overlapping
        return functools.partial(form, patch_size=self.patch_size, layout=self.layout)


@jax.custom_vjp
def pointwise_conv(x, kernel):
    """`(…, channels)` and `(channels, features)` → `(…, features)`."""
    return x @ kernel


def _pointwise_backward(residuals, gradient):
    x, kernel = residuals
    # Autodiff takes the transpose of gradientᵀ·x instead, which XLA's CPU backend multiplies four times as slowly.
    places = tuple(range(x.ndim - 1))
    return gradient @ kernel.T, lax.dot_general(x, gradient, ((places, places), ((), ())))


pointwise_conv.defvjp(lambda x, kernel: (pointwise_conv(x, kernel), (x, kernel)), _pointwise_backward)


def _embed_patches(images, kernel, patch_size, layout):
    """A convolution of patches that do not overlap is a dense layer over each patch.

    The gradient of a strided convolution's kernel takes XLA's CPU backend a third of Small's whole step.
    """
    images = fold(images, layout)
    batch, height, width, channels = images.shape
    rows, columns = height // patch_size, width // patch_size
    patches = images.reshape(batch, rows, patch_size, columns, patch_size, channels).swapaxes(2, 3)
    return pointwise_conv(patches.reshape(batch, rows, columns, -1), kernel.reshape(-1, kernel.shape[-1]))


def _embed_overlapping(images, kernel, patch_size, layout):
    dimensions = ('NHWC', 'HWIO', 'NHWC')
    strides = (patch_size, patch_size)
    return fold(lax.conv_general_dilated(images, kernel, strides, 'SAME', dimension_numbers=dimensions), layout)


def _folded_depthwise_conv(x, kernel, layout, form):
    half = len(kernel) // 2
    if layout.parts == 1 or not half:
        return depthwise_conv(x, kernel, half, form)
    return depthwise_conv(with_neighbours(x, half, layout), kernel, 0, form)
