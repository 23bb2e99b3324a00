"""ConvMixer: Trockman & Kolter 2022, "Patches Are All You Need?" (arXiv:2201.09792), section 2.

Like DSConv it has a norm behind the activation behind each convolution; `unit.ConvUnit` is that, with this project's
momentum and epsilon.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp

from dsconv.models.convolutions import DepthwiseConv, PatchEmbedding, PointwiseConv, glorot_uniform
from dsconv.models.layers import GlobalAveragePool, check_patches
from dsconv.models.unit import ConvUnit


class ConvMixer(nn.Module):
    """The classifier: `(batch, height, width, channels)` normalised images → `(batch, num_classes)` float32 logits.

    Attributes:
      patch: pixels a side; divides height and width.
      width: features throughout.
      layers: pairs of a depthwise convolution, with a residual, and a pointwise one.
      kernel: side of the depthwise kernel, odd.
    """

    num_classes: int
    patch: int = 2
    width: int = 256
    layers: int = 8
    kernel: int = 5
    norm_groups: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train: bool = False):
        check_patches(images, self.patch)
        unit = functools.partial(ConvUnit, groups=self.norm_groups, dtype=self.dtype)
        stem = PatchEmbedding(
            self.dtype, features=self.width, patch_size=self.patch, kernel_size=self.patch, name='stem'
        )
        x = unit(stem, name='stem_unit')(images, train)
        for index in range(self.layers):
            depthwise = DepthwiseConv(self.dtype, kernel_size=self.kernel, name=f'depthwise_{index}')
            pointwise = PointwiseConv(self.dtype, features=self.width, name=f'pointwise_{index}')
            x += unit(depthwise, name=f'depthwise_{index}_unit')(x, train)
            x = unit(pointwise, name=f'pointwise_{index}_unit')(x, train)
        x = GlobalAveragePool(name='pool')(x)
        return nn.Dense(self.num_classes, kernel_init=glorot_uniform, name='head')(x)
