"""The thesis's network: patch embedding, blocks of two reductions and a depthwise separable convolution, a dense head.

M. S. Islam, "An Efficient Image Classification Method Using Depthwise Separable Convolution by a Supervised Learning
Approach", RUET 2022, section 2.1. Every convolution has a bias and is followed by the activation, then by the norm.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from dsconv.models.convolutions import DepthwiseConv, PatchEmbedding, PointwiseConv, glorot_uniform
from dsconv.models.folding import Layout, mean_of_parts
from dsconv.models.layers import GlobalAveragePool
from dsconv.models.unit import ConvUnit


class Block(nn.Module):
    """Sections 2.1.3–2.1.6: d → d/2 → d/4, depthwise k×k with its residual, → d with the block's residual.

    `(batch, height, width, dim)` → the same shape. `reduction` holds the divisors of dim of the two pointwise
    reductions; `unit` puts activation and norm behind a convolution.
    """

    kernel_size: int
    reduction: tuple[int, int]
    residual_depthwise: bool
    residual_block: bool
    depthwise_form: str
    unit: Callable
    layout: Layout
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, train: bool):
        dim = x.shape[-1]

        def unit(x, convolution, name, **options):
            convolution = convolution(self.dtype, self.layout, name=name, **options)
            return self.unit(convolution, name=f'{name}_unit')(x, train)

        reduced = unit(x, PointwiseConv, 'reduce_1', features=dim // self.reduction[0])
        reduced = unit(reduced, PointwiseConv, 'reduce_2', features=dim // self.reduction[1])
        mixed = unit(reduced, DepthwiseConv, 'depthwise', kernel_size=self.kernel_size, form=self.depthwise_form)
        y = reduced + mixed if self.residual_depthwise else mixed
        y = unit(y, PointwiseConv, 'expand', features=dim)
        return x + y if self.residual_block else y


class DSConv(nn.Module):
    """The classifier: `(batch, height, width, channels)` normalised images → `(batch, num_classes)` float32 logits.

    Height and width must be divisible by `patch_size`; any channel count. A `stem_kernel_size` other than the patch
    size (SAME padding, stride `patch_size`) gives the stem of the published Large parameter count. `fold` and `shards`
    are the `folding.Layout` of training batches, `depthwise_form` is that of `depthwise.depthwise_conv`, and `remat`
    works each block out again in the backward pass rather than keep it: none of them changes the result.
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
    depthwise_form: str = 'auto'
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train: bool = False):
        patch, stem_kernel = self.patch_size, self.stem_kernel_size or self.patch_size
        if images.shape[1] % patch or images.shape[2] % patch:
            raise ValueError(
                f'images of {images.shape[1]}×{images.shape[2]} do not divide into {patch}×{patch} patches'
            )

        layout = Layout(self.fold or 1, self.shards) if train else Layout()
        unit = functools.partial(
            ConvUnit, activation=self.activation, norm=self.norm, groups=self.norm_groups, dtype=self.dtype
        )
        stem = PatchEmbedding(self.dtype, layout, self.dim, patch, stem_kernel, name='stem')
        x = unit(stem, name='stem_unit')(images, train)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        for index in range(self.depth):
            x = block(
                self.kernel_size,
                tuple(self.reduction),
                self.residual_depthwise,
                self.residual_block,
                self.depthwise_form,
                unit,
                layout,
                self.dtype,
                name=f'block_{index}',
            )(x, train)
        x = mean_of_parts(GlobalAveragePool(name='pool')(x), layout)
        return nn.Dense(self.num_classes, kernel_init=glorot_uniform, name='head')(x)
