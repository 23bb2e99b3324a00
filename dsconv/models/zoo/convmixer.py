"""ConvMixer of `FastConvUnit`s: Trockman & Kolter 2022, "Patches Are All You Need?" (arXiv:2201.09792), section 2."""

import functools

import flax.linen as nn
import jax.numpy as jnp

from dsconv.models.fast.unit import FastConvUnit
from dsconv.models.layers import GlobalAveragePool, check_patches, glorot_uniform


class ConvMixer(nn.Module):
    """The classifier: `(batch, height, width, channels)` normalised images → `(batch, num_classes)` float32 logits.

    Attributes:
      patch: pixels per side of a patch; divides height and width.
      layers: number of layers: a depthwise convolution with a residual, then a pointwise one, of `width` features.
      kernel: size of the depthwise kernel, odd.
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
        unit = functools.partial(FastConvUnit, groups=self.norm_groups, dtype=self.dtype)
        options = dict(kernel_init=glorot_uniform, dtype=self.dtype)
        patch, kernel = (self.patch, self.patch), (self.kernel, self.kernel)
        stem = nn.Conv(self.width, patch, patch, name='stem', **options)
        x = unit(stem, name='stem_unit')(images, train)
        for index in range(self.layers):
            depthwise = nn.Conv(
                self.width, kernel, feature_group_count=self.width, name=f'depthwise_{index}', **options
            )
            pointwise = nn.Dense(self.width, name=f'pointwise_{index}', **options)
            x += unit(depthwise, name=f'depthwise_{index}_unit')(x, train)
            x = unit(pointwise, name=f'pointwise_{index}_unit')(x, train)
        x = GlobalAveragePool(name='pool')(x)
        return nn.Dense(self.num_classes, kernel_init=glorot_uniform, name='head')(x)


NETWORKS = {'convmixer_256_8': ConvMixer}
