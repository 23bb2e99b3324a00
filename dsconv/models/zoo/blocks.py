"""A convolution, then batch norm with the momentum and epsilon of this project, then the activation."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from dsconv.models.batch_norm import BatchNorm
from dsconv.models.fast.convolutions import conv_general_dilated, dot_general, subsample

# Flax layers with the arithmetic of `dsconv.models.fast`: on a CPU, XLA takes 8 times as long for the gradient of a 1×1
# kernel, 30 times for a depthwise kernel, and 100 times for any kernel in a loop over microbatches.
# Kernels are initialised for ReLU (He et al. 2015, arXiv:1502.01852).
Conv = functools.partial(
    nn.Conv, use_bias=False, kernel_init=nn.initializers.he_normal(), conv_general_dilated=conv_general_dilated
)
PointwiseConv = functools.partial(
    nn.Dense, use_bias=False, kernel_init=nn.initializers.he_normal(), dot_general=dot_general
)


class ConvNorm(nn.Module):
    """A convolution, by default without bias, then `BatchNorm` over `groups`, then `activation` unless None.

    `(batch, height, width, channels)` → `(batch, ⌈height / stride⌉, ⌈width / stride⌉, features)` in `dtype`, for odd
    kernel sizes. If `depthwise`, each of the `features` channels is convolved separately.
    """

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
        size, stride = self.kernel_size, self.stride
        options = dict(use_bias=self.use_bias, dtype=self.dtype, name='conv')
        if size == 1 and not self.depthwise:
            x = PointwiseConv(self.features, **options)(subsample(x, stride))
        else:
            options |= dict(padding=size // 2, feature_group_count=self.features if self.depthwise else 1)
            x = Conv(self.features, (size, size), (stride, stride), **options)(x)
        x = BatchNorm(self.groups, self.dtype, name='batch_norm')(x, train)
        return x if self.activation is None else self.activation(x)
