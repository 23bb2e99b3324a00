"""The thesis's network: patch embedding, blocks of two reductions and a depthwise separable convolution, a dense head.

M. S. Islam, "An Efficient Image Classification Method Using Depthwise Separable Convolution by a Supervised Learning
Approach", RUET 2022, section 2.1. Every convolution has a bias and is followed by the activation, then by the norm.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from dsconv.models.depthwise import DepthwiseConv
from dsconv.models.folding import Layout, fold, mean_of_parts
from dsconv.models.layers import ActivationNorm, GlobalAveragePool, glorot_uniform


class Block(nn.Module):
    """Sections 2.1.3–2.1.6: d → d/2 → d/4, depthwise k×k with its residual, → d with the block's residual.

    `(batch, height, width, dim)` → the same shape. `reduction` holds the divisors of dim of the two pointwise
    reductions; `unit` makes the layer of activation and norm that follows each convolution.
    """

    kernel_size: int
    reduction: tuple[int, int]
    residual_depthwise: bool
    residual_block: bool
    unit: Callable
    layout: Layout
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, train: bool):
        dim = x.shape[-1]

        def pointwise(x, features, name):
            # A 1×1 convolution is a dense layer over the channels.
            x = nn.Dense(features, dtype=self.dtype, kernel_init=glorot_uniform, name=name)(x)
            return self.unit(name=f'{name}_unit')(x, train)

        reduced = pointwise(x, dim // self.reduction[0], 'reduce_1')
        reduced = pointwise(reduced, dim // self.reduction[1], 'reduce_2')
        mixed = DepthwiseConv(self.kernel_size, self.dtype, self.layout, name='depthwise')(reduced)
        mixed = self.unit(name='depthwise_unit')(mixed, train)
        y = reduced + mixed if self.residual_depthwise else mixed
        y = pointwise(y, dim, 'expand')
        return x + y if self.residual_block else y


class DSConv(nn.Module):
    """The classifier: `(batch, height, width, channels)` normalised images → `(batch, num_classes)` float32 logits.

    Height and width must be divisible by `patch_size`; any channel count. A `stem_kernel_size` other than the patch
    size (SAME padding, stride `patch_size`) gives the stem of the published Large parameter count. `fold` and `shards`
    are the `folding.Layout` of training batches, which changes no result.
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
    fold: int | None = None
    shards: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train: bool = False):
        patch, stem_kernel = self.patch_size, self.stem_kernel_size or self.patch_size
        if images.shape[1] % patch or images.shape[2] % patch:
            raise ValueError(
                f'images of {images.shape[1]}×{images.shape[2]} do not divide into {patch}×{patch} patches'
            )

        overlapping = stem_kernel > patch  # then the stem looks at neighbouring rows too
        layout = Layout(self.fold or 1, self.shards) if train else Layout()
        unit = functools.partial(ActivationNorm, self.activation, self.norm, self.norm_groups, self.dtype)
        x = nn.Conv(
            self.dim,
            (stem_kernel, stem_kernel),
            (patch, patch),
            'SAME',
            dtype=self.dtype,
            kernel_init=glorot_uniform,
            name='stem',
        )(images if overlapping else fold(images, layout))
        if overlapping:
            x = fold(x, layout)
        x = unit(name='stem_unit')(x, train)
        for index in range(self.depth):
            x = Block(
                self.kernel_size,
                tuple(self.reduction),
                self.residual_depthwise,
                self.residual_block,
                unit,
                layout,
                self.dtype,
                name=f'block_{index}',
            )(x, train)
        x = mean_of_parts(GlobalAveragePool(name='pool')(x), layout)
        return nn.Dense(self.num_classes, kernel_init=glorot_uniform, name='head')(x)
