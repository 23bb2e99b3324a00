"""Networks in Flax Linen: `(batch, height, width, channels)` images → `(batch, num_classes)` logits in float32."""

import inspect

import jax.numpy as jnp

from dsconv.models.dsconv import DSConv

MODELS = {'dsconv': DSConv}


def build_model(model, num_classes: int):
    """Makes the network that a config's `model` part describes.

    Args:
      model: a mapping with `name`, a key of `MODELS`, `dtype` ('float32' or 'bfloat16') and the network's own options.
        Options of other networks are ignored.
      num_classes: width of the head.

    Returns:
      A Linen module; `module.apply(variables, images, train=…)`.
    """
    network = MODELS[model['name']]
    of_linen = {'name', 'parent'}
    options = {key: model[key] for key in inspect.signature(network).parameters if key in model and key not in of_linen}
    return network(num_classes=num_classes, **(options | {'dtype': jnp.dtype(model['dtype'])}))
