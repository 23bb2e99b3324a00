"""VGG: Simonyan & Zisserman 2014, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (1409.1556)."""

import functools

import flax.linen as nn
import jax.numpy as jnp

from dsconv.models.layers import check_size, glorot_uniform
from dsconv.models.zoo.blocks import Conv, ConvNorm


class VGG(nn.Module):
    """The classifier: `(batch, height, width, channels)` normalised images → `(batch, num_classes)` float32 logits.

    Attributes:
      stages: number of 3×3 convolutions of each stage, with `features` channels; a stage ends with 2×2 max pooling.
      hidden: widths of the dense layers before the head, each with dropout rate 0.5.
      batch_norm: adds batch norm between each convolution, which then has no bias, and its ReLU; not in the paper.
    """

    num_classes: int
    stages: tuple[int, ...] = (2, 2, 3, 3, 3)
    features: tuple[int, ...] = (64, 128, 256, 512, 512)
    hidden: tuple[int, ...] = (4096, 4096)
    batch_norm: bool = False
    norm_groups: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train: bool = False):
        check_size(images, 2 ** len(self.stages))
        x = images
        for stage, (convolutions, features) in enumerate(zip(self.stages, self.features, strict=True)):
            for index in range(convolutions):
                name = f'stage_{stage}_conv_{index}'
                if self.batch_norm:
                    x = ConvNorm(features, groups=self.norm_groups, dtype=self.dtype, name=name)(x, train)
                else:
                    conv = functools.partial(Conv, padding=1, use_bias=True, kernel_init=glorot_uniform)
                    x = nn.relu(conv(features, (3, 3), dtype=self.dtype, name=name)(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        # By a footnote in section 3.1, Glorot initialisation makes the paper's pre-training unnecessary.
        dense = functools.partial(nn.Dense, kernel_init=glorot_uniform)
        for number, width in enumerate(self.hidden, 1):
            x = nn.relu(dense(width, dtype=self.dtype, name=f'hidden_{number}')(x))
            x = nn.Dropout(0.5, deterministic=not train)(x)
        return dense(self.num_classes, name='head')(x.astype(jnp.float32))


NETWORKS = {
    'vgg16': functools.partial(VGG, norm_groups=1),  # without batch norm
    'vgg16_cifar': functools.partial(VGG, hidden=(), batch_norm=True),
    'vgg19': functools.partial(VGG, stages=(2, 2, 4, 4, 4), norm_groups=1),
}
