"""The network of the thesis: patch embedding, blocks around a depthwise separable convolution, a dense head.

M. S. Islam, "An Efficient Image Classification Method Using Depthwise Separable Convolution by a Supervised Learning
Approach", RUET 2022, section 2.1. This module is the definition; `dsconv.models.fast` computes the same faster.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from dsconv.models.layers import ConvUnit, GlobalAveragePool, check_patches, glorot_uniform


class Block(nn.Module):
    """A block: d → d/2 → d/4 features, depthwise k×k with a residual, → d with a residual (sections 2.1.3–2.1.6).

    `(batch, height, width, dim)` → the same shape. `reduction` holds the divisors of `dim` for the two pointwise
    reductions; `unit(convolution)` makes a `ConvUnit`: the convolution, the activation, then the norm.
    """

    kernel_size: int
    reduction: tuple[int, int]
    residual_depthwise: bool
    residual_block: bool
    unit: Callable
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, train: bool):
        dim = x.shape[-1]
        first, second = (dim // divisor for divisor in self.reduction)
        size = (self.kernel_size, self.kernel_size)
        # A pointwise convolution, 1×1, is a dense layer over the channels.
        pointwise = functools.partial(nn.Dense, kernel_init=glorot_uniform, dtype=self.dtype)
        depthwise = functools.partial(nn.Conv, feature_group_count=second, kernel_init=glorot_uniform, dtype=self.dtype)

        reduced = self.unit(pointwise(first, name='reduce_1'), name='reduce_1_unit')(x, train)
        reduced = self.unit(pointwise(second, name='reduce_2'), name='reduce_2_unit')(reduced, train)
        mixed = self.unit(depthwise(second, size, name='depthwise'), name='depthwise_unit')(reduced, train)
        y = reduced + mixed if self.residual_depthwise else mixed
        y = self.unit(pointwise(dim, name='expand'), name='expand_unit')(y, train)
        return x + y if self.residual_block else y


class DSConv(nn.Module):
    """The classifier: `(batch, height, width, channels)` normalised images → `(batch, num_classes)` float32 logits.

    Raises InputError if `patch_size` does not divide height and width; any number of channels is valid. A
    `stem_kernel_size` other than the patch size (SAME padding, stride `patch_size`) is for Large: its published
    parameter count needs a stem kernel of size 2 with patch size 1.

    `activation` is a key of `layers.ACTIVATIONS` ('gelu' is the tanh form), `norm` a key of `layers.NORMS`. Batch norm
    has statistics over `norm_groups` equal parts of the batch; in training, call `apply` with `mutable='batch_stats'`.
    Parameters, pooling and head are float32, the other layers compute in `dtype`. The parameters of a convolution are
    under its name, the parameters of its norm under `<name>_unit`.
    """

    num_classes: int
    patch_size: int = 2
    stem_kernel_size: int | None = None
    dim: int = 128
    depth: int = 8
    kernel_size: int = 5
    reduction: tuple[int, int] = (2, 4)
    residual_depthwise: bool = True
    residual_block: bool = True
    activation: str = 'gelu'
    norm: str = 'batch'
    norm_groups: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train: bool = False):
        check_patches(images, self.patch_size)
        options = dict(activation=self.activation, norm=self.norm, groups=self.norm_groups, dtype=self.dtype)
        unit = functools.partial(ConvUnit, **options)
        x = unit(self.stem(), name='stem_unit')(images, train)
        for index in range(self.depth):
            x = Block(*self.block_options(), unit, self.dtype, name=f'block_{index}')(x, train)
        x = GlobalAveragePool(name='pool')(x)
        return nn.Dense(self.num_classes, kernel_init=glorot_uniform, name='head')(x)

    def stem(self):
        """Makes the patch embedding (equation 1): a convolution with stride `patch_size`."""
        size, stride = (self.stem_kernel_size or self.patch_size,) * 2, (self.patch_size,) * 2
        return nn.Conv(self.dim, size, stride, kernel_init=glorot_uniform, dtype=self.dtype, name='stem')

    def block_options(self):
        """Returns the arguments of `Block` except `unit` and `dtype`."""
        return self.kernel_size, tuple(self.reduction), self.residual_depthwise, self.residual_block
