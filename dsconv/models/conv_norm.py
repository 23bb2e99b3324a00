"""A convolution, then batch norm, then the activation: what most networks that DSConv is compared with are made of."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dsconv.models.convolutions import pointwise_conv
from dsconv.models.depthwise import depthwise_conv
from dsconv.models.layers import BatchNorm


class Conv(nn.Module):
    """A convolution with `padding` zeros on each side of the image, by default `kernel_size` // 2, for odd sizes.

    `(batch, height, width, channels)` → `(batch, ⌈height / stride⌉, ⌈width / stride⌉, features)` in `dtype`. Where
    `depthwise`, each channel is convolved by itself, and `features` is their number. By default kernels are initialised
    for ReLU (He et al. 2015, arXiv:1502.01852); they are kept in float32.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    depthwise: bool = False
    use_bias: bool = False
    padding: int | None = None
    kernel_init: Callable = nn.initializers.he_normal()
    bias_init: Callable = nn.initializers.zeros
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        size, channels = self.kernel_size, x.shape[-1]
        square = () if size == 1 and not self.depthwise else (size, size)
        shape = (*square, 1 if self.depthwise else channels, self.features)
        kernel = self.param('kernel', self.kernel_init, shape).astype(self.dtype)
        y = self._convolve(x.astype(self.dtype), kernel)
        if self.use_bias:
            y += self.param('bias', self.bias_init, (self.features,)).astype(self.dtype)
        return y

    def _convolve(self, x, kernel):
        # On a CPU XLA's own convolution takes eight times as long for the gradient of a 1×1 kernel, and thirty times
        # for a depthwise one, even though the latter works out what a stride then leaves out.
        if kernel.ndim == 2:
            return pointwise_conv(x[:, :: self.stride, :: self.stride], kernel)
        padding = self.kernel_size // 2 if self.padding is None else self.padding
        if self.depthwise:
            return depthwise_conv(x, kernel, padding)[:, :: self.stride, :: self.stride]
        return conv(x, kernel, self.stride, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv(x, kernel, stride: int, padding: int):
    """Convolution of `(batch, height, width, channels)`, `padding` zeros on each side, by `(k, k, channels, features)`.

    The result is `(batch, (height + 2 · padding − k) // stride + 1, …, features)`.

    Its gradients are autodiff's, with the axes moved so that all are convolutions of NHWC by HWIO. XLA's CPU backend
    does that itself, but not in a loop, as of steps or microbatches: there autodiff's take a hundred times as long.
    """
    return _nhwc(x, kernel, padding=((padding,) * 2,) * 2, window_strides=(stride,) * 2)


def _conv_backward(stride, padding, residuals, gradient):
    x, kernel = residuals
    size, dilation = len(kernel), (stride,) * 2
    left_over = [(side + 2 * padding - size) % stride for side in x.shape[1:3]]  # rows and columns no window reaches
    around = size - 1 - padding
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    dx = _nhwc(gradient, turned, padding=[(around, around + rest) for rest in left_over], lhs_dilation=dilation)
    by_channel, by_place = x.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3)
    within = [(padding, padding - rest) for rest in left_over]
    return dx, _nhwc(by_channel, by_place, padding=within, rhs_dilation=dilation).transpose(1, 2, 0, 3)


def _nhwc(x, kernel, window_strides=(1, 1), **options):
    return lax.conv_general_dilated(x, kernel, window_strides, dimension_numbers=('NHWC', 'HWIO', 'NHWC'), **options)


conv.defvjp(lambda x, kernel, *options: (conv(x, kernel, *options), (x, kernel)), _conv_backward)


class ConvNorm(nn.Module):
    """A `Conv`, without bias unless asked for, then `BatchNorm` over `groups`, then `activation` unless None."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    depthwise: bool = False
    use_bias: bool = False
    activation: Callable | None = nn.relu
    groups: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool):
        shape = (self.features, self.kernel_size, self.stride, self.depthwise, self.use_bias)
        x = Conv(*shape, dtype=self.dtype, name='conv')(x)
        x = BatchNorm(self.groups, self.dtype, name='batch_norm')(x, train)
        return x if self.activation is None else self.activation(x)
