"""Counts the parameters and the arithmetic of each layer of a network from shapes alone."""

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from dsconv.models.batch_norm import BatchNorm
from dsconv.models.layers import GlobalAveragePool
from dsconv.models.zoo.vit import AttentionProduct, ClassTokenAndPositions

CONVOLUTIONS = (nn.Conv, nn.Dense)
NORMS = (BatchNorm, nn.LayerNorm)
COUNTED = (*CONVOLUTIONS, *NORMS, AttentionProduct, ClassTokenAndPositions, GlobalAveragePool)


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """The cost of one layer for one image.

    Attributes:
      path: path of the layer in the network, e.g. 'block_0/depthwise'.
      kind: class name of the layer, e.g. 'Conv'.
      output_shape: shape of the output without the batch axis.
      parameters: number of trainable scalars.
      macs: multiply-accumulates of convolutions, dense layers and the two matrix products of attention.
      flops: 2 per multiply-accumulate, 1 per added bias or position, 2 per normalised element, 1 per globally pooled
        element. Activations, residual additions, pooling between layers and local response norm are not counted.
      thesis_flops: the thesis's count: 1 per multiply-accumulate, 2 per normalised element, 1 per pooled element.
    """

    path: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    flops: int
    thesis_flops: int


@functools.cache  # a study calls it again after each run
def layer_costs(model: nn.Module, image_shape: tuple[int, int, int]) -> list[LayerCost]:
    """Returns the cost of each `COUNTED` layer, in forward order, for an image of shape (height, width, channels)."""
    rows = []

    def record(next_method, args, kwargs, context):
        output = next_method(*args, **kwargs)
        layer = context.module
        if context.method_name == '__call__' and isinstance(layer, COUNTED):
            rows.append(_cost(layer, args[0].shape[1:], output.shape[1:]))
        return output

    with nn.intercept_methods(record):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *image_shape)))
    return rows


def _cost(layer, input_shape, output_shape):
    parameters = layer.variables.get('params', {})
    outputs, macs, flops, thesis_flops = math.prod(output_shape), 0, 0, 0
    if isinstance(layer, CONVOLUTIONS):
        # Each output position applies the whole kernel once, with or without feature groups.
        macs = parameters['kernel'].size * outputs // output_shape[-1]
        flops, thesis_flops = 2 * macs + outputs * ('bias' in parameters), macs
    elif isinstance(layer, AttentionProduct):
        tokens = input_shape[0]  # each output sums over all tokens, each pair of tokens over the features of a head
        macs = thesis_flops = 2 * tokens * outputs
        flops = 2 * macs
    elif isinstance(layer, NORMS):
        flops = thesis_flops = 2 * outputs
    elif isinstance(layer, ClassTokenAndPositions):
        flops = outputs
    else:
        flops = thesis_flops = math.prod(input_shape)
    count = sum(leaf.size for leaf in jax.tree.leaves(parameters))
    return LayerCost('/'.join(layer.path), type(layer).__name__, tuple(output_shape), count, macs, flops, thesis_flops)
