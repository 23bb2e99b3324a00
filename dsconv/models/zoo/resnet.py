"""Residual networks: He et al. 2015, "Deep Residual Learning for Image Recognition" (arXiv:1512.03385)."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from dsconv.models.fast.convolutions import subsample
from dsconv.models.layers import GlobalAveragePool
from dsconv.models.zoo.blocks import ConvNorm, PointwiseConv


class Block(nn.Module):
    """ReLU of a shortcut plus a branch with a convolution for each (features, kernel size, stride) in `branch`.

    `conv` makes a `ConvNorm`; `shortcut` is as in `ResNet`.
    """

    branch: tuple[tuple[int, int, int], ...]
    shortcut: str
    conv: Callable

    @nn.compact
    def __call__(self, x, train: bool):
        y = x
        for number, (features, kernel_size, stride) in enumerate(self.branch, start=1):
            activation = nn.relu if number < len(self.branch) else None
            y = self.conv(features, kernel_size, stride, activation=activation, name=f'conv_{number}')(y, train)
        return nn.relu(y + (x if x.shape == y.shape else self._matched(x, y.shape[-1], train)))

    def _matched(self, x, features, train):
        stride = max(stride for _, _, stride in self.branch)
        if self.shortcut == 'pad':
            return jnp.pad(subsample(x, stride), ((0, 0), (0, 0), (0, 0), (0, features - x.shape[-1])))
        if self.shortcut == 'conv':
            return PointwiseConv(features, use_bias=True, dtype=x.dtype, name='shortcut')(subsample(x, stride))
        return self.conv(features, 1, stride, activation=None, name='shortcut')(x, train)


class ResNet(nn.Module):
    """The classifier: `(batch, height, width, channels)` normalised images → `(batch, num_classes)` float32 logits.

    Attributes:
      stages: number of blocks of each stage; all but the first stage halve height and width and double the features.
      width: features of the first stage.
      bottleneck: whether blocks have 1×1, 3×3 (with the stride) and 1×1 convolutions, the last with four times the
        features (figure 5), instead of two 3×3 convolutions.
      shortcut: shortcut of a block that changes the shape: 'pad' (every `stride`-th pixel, zeros for new channels:
        option A), 'conv' (1×1, with bias, without norm) or 'conv_norm' (1×1, with norm: option B).
      large_stem: whether the stem is 7×7 with stride 2 and max pooling, for ImageNet; otherwise 3×3, for CIFAR.
    """

    num_classes: int
    stages: tuple[int, ...] = (3, 3, 3)
    width: int = 16
    bottleneck: bool = False
    shortcut: str = 'pad'
    use_bias: bool = False
    large_stem: bool = False
    norm_groups: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train: bool = False):
        conv = functools.partial(ConvNorm, use_bias=self.use_bias, groups=self.norm_groups, dtype=self.dtype)
        if self.large_stem:
            x = conv(self.width, 7, 2, name='stem')(images, train)
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        else:
            x = conv(self.width, name='stem')(images, train)
        for stage, blocks in enumerate(self.stages):
            features = self.width * 2**stage
            for index in range(blocks):
                stride = 2 if stage and not index else 1
                branch = (features, 3, stride), (features, 3, 1)
                if self.bottleneck:
                    branch = (features, 1, 1), (features, 3, stride), (4 * features, 1, 1)
                x = Block(branch, self.shortcut, conv, name=f'stage_{stage}_block_{index}')(x, train)
        x = GlobalAveragePool(name='pool')(x)
        return nn.Dense(self.num_classes, name='head')(x)


NETWORKS = {
    # MLPerf Tiny (arXiv:2106.07597).
    'resnet8': functools.partial(ResNet, stages=(1, 1, 1), shortcut='conv', use_bias=True),
    'resnet20': ResNet,
    'resnet56': functools.partial(ResNet, stages=(9, 9, 9)),
    'resnet50': functools.partial(
        ResNet, stages=(3, 4, 6, 3), width=64, bottleneck=True, shortcut='conv_norm', large_stem=True
    ),
}
