"""Networks in Flax Linen: `(batch, height, width, channels)` images → `(batch, num_classes)` logits in float32."""

import functools
import inspect

import jax.numpy as jnp

from dsconv.models.alexnet import AlexNet
from dsconv.models.convmixer import ConvMixer
from dsconv.models.densenet import DenseNet
from dsconv.models.dsconv import DSConv
from dsconv.models.mobilenet import CIFAR_STRIDES, MobileNetV2
from dsconv.models.resnet import ResNet
from dsconv.models.vgg import VGG
from dsconv.models.vit import ViT

_fixed = functools.partial

# A network by its name. The config sets what a name does not fix, of what the network has.
MODELS = {
    'dsconv': DSConv,
    'alexnet': AlexNet,
    'alexnet_cifar': _fixed(
        # The features of Krizhevsky 2014 (arXiv:1404.5997); stem and hidden layers cut to the size of the images.
        AlexNet,
        features=(64, 192, 384, 256, 256),
        stem=(3, 1, 1),
        hidden=(1024, 1024),
        smallest=15,
    ),
    'vgg16': VGG,
    'vgg16_cifar': _fixed(VGG, hidden=(), batch_norm=True),
    'vgg19': _fixed(VGG, stages=(2, 2, 4, 4, 4)),
    'resnet8': _fixed(ResNet, stages=(1, 1, 1), shortcut='conv', use_bias=True),  # MLPerf Tiny (arXiv:2106.07597)
    'resnet20': ResNet,
    'resnet56': _fixed(ResNet, stages=(9, 9, 9)),
    'resnet50': _fixed(ResNet, stages=(3, 4, 6, 3), width=64, bottleneck=True, shortcut='conv_norm', large_stem=True),
    'vit_base': ViT,
    'vit_tiny': _fixed(ViT, patch=4, width=192, heads=3, dropout=0.0),  # the width of Touvron et al. (arXiv:2012.12877)
    'mobilenetv2_050': _fixed(MobileNetV2, multiplier=0.5, strides=CIFAR_STRIDES),
    'convmixer_256_8': ConvMixer,
    'densenet_40_12': DenseNet,
}


def build_model(model, num_classes: int):
    """Makes the network that a config's `model` part describes.

    Args:
      model: a mapping with `name`, a key of `MODELS`, `dtype` ('float32' or 'bfloat16') and the network's own options.
        Options of other networks, and those that the name fixes, are ignored.
      num_classes: width of the head.

    Returns:
      A Linen module; `module.apply(variables, images, train=…)`.
    """
    network = MODELS[model['name']]
    ignored = {'name', 'parent', *getattr(network, 'keywords', {})}  # the first two are Linen's own
    options = {key: model[key] for key in inspect.signature(network).parameters if key in model and key not in ignored}
    return network(num_classes=num_classes, **(options | {'dtype': jnp.dtype(model['dtype'])}))
