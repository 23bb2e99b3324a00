"""DenseNet-BC: Huang et al. 2017, "Densely Connected Convolutional Networks" (arXiv:1608.06993), section 3."""

import functools

import flax.linen as nn
import jax.numpy as jnp

from dsconv.models.batch_norm import BatchNorm
from dsconv.models.layers import GlobalAveragePool, check_size
from dsconv.models.zoo.blocks import Conv, PointwiseConv


class NormConv(nn.Module):
    """Batch norm over `groups`, then ReLU, then a convolution: the order of He et al. 2016 (arXiv:1603.05027)."""

    features: int
    kernel_size: int
    groups: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.relu(BatchNorm(self.groups, self.dtype, name='batch_norm')(x, train))
        if self.kernel_size == 1:
            return PointwiseConv(self.features, dtype=self.dtype, name='conv')(x)
        size, padding = (self.kernel_size, self.kernel_size), self.kernel_size // 2
        return Conv(self.features, size, padding=padding, dtype=self.dtype, name='conv')(x)


class DenseNet(nn.Module):
    """The classifier: `(batch, height, width, channels)` normalised images → `(batch, num_classes)` float32 logits.

    Attributes:
      growth: channels that each layer appends to its input, by 1×1 to 4 · `growth` channels, then 3×3 to `growth`.
      layers: layers per dense block; between blocks, a 1×1 convolution halves the channels, average pooling the sides.
    """

    num_classes: int
    growth: int = 12
    layers: tuple[int, ...] = (6, 6, 6)
    norm_groups: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train: bool = False):
        check_size(images, 2 ** (len(self.layers) - 1))
        conv = functools.partial(NormConv, groups=self.norm_groups, dtype=self.dtype)
        x = Conv(2 * self.growth, (3, 3), padding=1, dtype=self.dtype, name='stem')(images)
        for block, layers in enumerate(self.layers):
            if block:
                x = conv(x.shape[-1] // 2, 1, name=f'transition_{block}')(x, train)
                x = nn.avg_pool(x, (2, 2), (2, 2))
            for index in range(layers):
                y = conv(4 * self.growth, 1, name=f'block_{block}_layer_{index}_reduce')(x, train)
                y = conv(self.growth, 3, name=f'block_{block}_layer_{index}')(y, train)
                x = jnp.concatenate([x, y], axis=-1)
        x = nn.relu(BatchNorm(self.norm_groups, self.dtype, name='batch_norm')(x, train))
        x = GlobalAveragePool(name='pool')(x)
        return nn.Dense(self.num_classes, name='head')(x)


NETWORKS = {'densenet_40_12': DenseNet}
