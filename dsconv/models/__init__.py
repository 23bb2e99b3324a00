"""Networks in Flax Linen: `(batch, height, width, channels)` images → `(batch, num_classes)` logits in float32.

`dsconv` is the network of the thesis, `fast` computes it in less time, `zoo` holds the networks to compare it with.
"""

import inspect

import jax.numpy as jnp

from dsconv.models.dsconv import DSConv
from dsconv.models.fast.dsconv import FastDSConv
from dsconv.models.zoo import NETWORKS

MODELS = {'dsconv': DSConv, **NETWORKS}
OF_EVERY_NETWORK = {'name', 'dtype', 'norm_groups'}  # norm_groups has no effect on a network without batch norm


def build_model(model, num_classes: int):
    """Makes the Linen module of the `model` section of a config: `module.apply(variables, images, train=…)`.

    Args:
      model: a mapping with `name` (a key of `MODELS`), `dtype` ('float32' or 'bfloat16'), `implementation` ('fast';
        otherwise the network is plain) and options of the network. A missing option has the network's default. Options
        of other networks, and options that the name fixes, are ignored.
      num_classes: width of the head.
    """
    network = _network(model['name'], model.get('implementation'))
    options = {key: model[key] for key in _fields(network) if key in model}
    return network(num_classes=num_classes, **(options | {'dtype': jnp.dtype(model['dtype'])}))


def options_of(model) -> set[str]:
    """Returns the keys of a config's `model` section that have an effect for its `name` and `implementation`."""
    implementation = 'plain' if model['implementation'] == 'plain' else 'fast'  # 'auto' may become fast
    taken = OF_EVERY_NETWORK | _fields(_network(model['name'], implementation))
    if model['name'] == 'dsconv':
        taken.add('implementation')
    return taken & set(model)


def has_batch_norm(model) -> bool:
    """Returns whether the network of a config's `model` section has batch norm."""
    return model['norm'] == 'batch' if model['name'] == 'dsconv' else 'norm_groups' in _fields(MODELS[model['name']])


def _network(name, implementation):
    return FastDSConv if (name, implementation) == ('dsconv', 'fast') else MODELS[name]


def _fields(network) -> set[str]:
    """Returns the fields of a module that a config may set: all but Linen's, `num_classes` and those the name fixes."""
    fixed = getattr(network, 'keywords', {})
    return set(inspect.signature(network).parameters) - {'parent', 'name', 'num_classes', *fixed}


FAST_OPTIONS = _fields(FastDSConv) - _fields(DSConv)  # keys of `model` that only the fast form has
