"""MobileNetV2: Sandler et al. 2018, "Inverted Residuals and Linear Bottlenecks" (arXiv:1801.04381)."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from dsconv.models.layers import GlobalAveragePool
from dsconv.models.zoo.blocks import ConvNorm

# Table 2.
STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
STRIDES = (1, 1, 1, 2, 2, 1, 2, 1)  # for images of 32×32; those of the paper are (2, 1, 2, 2, 2, 1, 2, 1)


class InvertedResidual(nn.Module):
    """1×1 to `expansion` times the channels, depthwise 3×3, linear 1×1 (table 1); plus the input if shapes are equal.

    `conv` makes a `ConvNorm`. With an `expansion` of 1, there is no first convolution.
    """

    features: int
    expansion: int
    stride: int
    conv: Callable

    @nn.compact
    def __call__(self, x, train: bool):
        wide, y = self.expansion * x.shape[-1], x
        if self.expansion > 1:
            y = self.conv(wide, 1, name='expand')(y, train)
        y = self.conv(wide, 3, self.stride, depthwise=True, name='depthwise')(y, train)
        y = self.conv(self.features, 1, activation=None, name='project')(y, train)
        return x + y if x.shape == y.shape else y


class MobileNetV2(nn.Module):
    """The classifier: `(batch, height, width, channels)` normalised images → `(batch, num_classes)` float32 logits.

    Attributes:
      multiplier: factor of the features, which are then rounded to a multiple of 8; the last layer has at least 1280.
      stages: expansion, features at multiplier 1, and number of blocks of each stage.
      strides: strides of the stem and of the first block of each stage.
    """

    num_classes: int
    multiplier: float = 0.5
    stages: tuple[tuple[int, int, int], ...] = STAGES
    strides: tuple[int, ...] = STRIDES
    norm_groups: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train: bool = False):
        conv = functools.partial(ConvNorm, activation=nn.relu6, groups=self.norm_groups, dtype=self.dtype)
        x = conv(rounded(32 * self.multiplier), 3, self.strides[0], name='stem')(images, train)
        stages = zip(self.stages, self.strides[1:], strict=True)
        for stage, ((expansion, features, blocks), stride) in enumerate(stages):
            for index in range(blocks):
                shape = rounded(features * self.multiplier), expansion, 1 if index else stride
                x = InvertedResidual(*shape, conv, name=f'stage_{stage}_block_{index}')(x, train)
        x = conv(rounded(1280 * max(1.0, self.multiplier)), 1, name='last')(x, train)
        x = GlobalAveragePool(name='pool')(x)
        return nn.Dense(self.num_classes, name='head')(x)


def rounded(features: float) -> int:
    """Returns the nearest multiple of 8 that is at least 8 and at least 0.9 · `features`, as in the authors' code."""
    nearest = max(8, int(features + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * features else nearest + 8


NETWORKS = {'mobilenetv2_050': MobileNetV2}
