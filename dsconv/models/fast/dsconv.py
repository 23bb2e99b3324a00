"""The network of the thesis in its fast form: folded images, fused units, optional recomputation of blocks."""

import functools

import flax.linen as nn

from dsconv.models.dsconv import Block, DSConv
from dsconv.models.fast.folding import WHOLE, Layout, fold, mean_of_parts
from dsconv.models.fast.unit import FastConvUnit
from dsconv.models.layers import GlobalAveragePool, check_patches, glorot_uniform


class FastDSConv(DSConv):
    """A `DSConv` with the same parameters and, for an odd `kernel_size`, the same result.

    `fold` and `shards` are the `parts` and `shards` of `folding.Layout` in training. `depthwise_form` is the `form` of
    `depthwise_conv`. `remat` recomputes each block in the backward pass.
    """

    fold: int | None = None
    shards: int = 1
    depthwise_form: str = 'auto'
    remat: bool = False

    @nn.compact
    def __call__(self, images, train: bool = False):
        check_patches(images, self.patch_size)
        layout = Layout(self.fold or 1, self.shards) if train else WHOLE
        options = dict(activation=self.activation, norm=self.norm, groups=self.norm_groups, dtype=self.dtype)
        unit = functools.partial(FastConvUnit, depthwise_form=self.depthwise_form, **options)
        stem = unit(self.stem(), name='stem_unit')
        patches_overlap = self.stem_kernel_size not in (None, self.patch_size)
        x = fold(stem(images, train), layout) if patches_overlap else stem(fold(images, layout), train)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        unit = functools.partial(unit, layout=layout)
        for index in range(self.depth):
            x = block(*self.block_options(), unit, self.dtype, name=f'block_{index}')(x, train)
        x = mean_of_parts(GlobalAveragePool(name='pool')(x), layout)
        return nn.Dense(self.num_classes, kernel_init=glorot_uniform, name='head')(x)
