"""AlexNet: Krizhevsky et al. 2012, "ImageNet Classification with Deep Convolutional Neural Networks", section 3.

It is one network, not split over two GPUs: each convolution sees all channels.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp

from dsconv.models.layers import check_size
from dsconv.models.zoo.blocks import Conv

gaussian = nn.initializers.normal(0.01)  # section 5


class AlexNet(nn.Module):
    """The classifier: `(batch, height, width, channels)` normalised images → `(batch, num_classes)` float32 logits.

    Attributes:
      features: output features of the five convolutions.
      stem: kernel size, stride and padding of the first convolution.
      hidden: widths of the dense layers before the head, each with dropout rate 0.5 (section 4.2).
    """

    num_classes: int
    features: tuple[int, ...] = (96, 256, 384, 384, 256)
    stem: tuple[int, int, int] = (11, 4, 0)
    hidden: tuple[int, ...] = (4096, 4096)
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train: bool = False):
        kernel_size, stride, padding = self.stem
        check_size(images, 14 * stride + kernel_size - 2 * padding)  # of 15 positions, three poolings leave one
        layers = (self.stem, (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))
        x = images
        for number, (features, (kernel_size, stride, padding)) in enumerate(zip(self.features, layers, strict=True), 1):
            bias = nn.initializers.ones if number in (2, 4, 5) else nn.initializers.zeros  # section 5
            conv = functools.partial(Conv, use_bias=True, kernel_init=gaussian, bias_init=bias, dtype=self.dtype)
            sizes = (kernel_size, kernel_size), (stride, stride)
            x = nn.relu(conv(features, *sizes, padding=padding, name=f'conv_{number}')(x))
            if number in (1, 2):
                x = local_response_norm(x)
            if number in (1, 2, 5):
                x = nn.max_pool(x, (3, 3), (2, 2))
        x = x.reshape(x.shape[0], -1)
        dense = functools.partial(nn.Dense, kernel_init=gaussian)
        for number, width in enumerate(self.hidden, 1):
            hidden = dense(width, dtype=self.dtype, bias_init=nn.initializers.ones, name=f'hidden_{number}')
            x = nn.Dropout(0.5, deterministic=not train)(nn.relu(hidden(x)))
        return dense(self.num_classes, name='head')(x.astype(jnp.float32))


def local_response_norm(x, window: int = 5):
    """Computes x / (2 + 0.0001 · sum of x² over the nearest `window` channels, zero-padded) ^ 0.75 (section 3.3)."""
    channels = x.shape[-1]
    squares = jnp.pad(jnp.square(x), ((0, 0), (0, 0), (0, 0), (window // 2, window // 2)))
    total = sum(squares[..., offset : offset + channels] for offset in range(window))
    return x * (2 + 1e-4 * total) ** -0.75


NETWORKS = {
    'alexnet': AlexNet,
    'alexnet_cifar': functools.partial(
        # The features of Krizhevsky 2014 (arXiv:1404.5997); stem and hidden layers reduced for small images.
        AlexNet,
        features=(64, 192, 384, 256, 256),
        stem=(3, 1, 1),
        hidden=(1024, 1024),
    ),
}
