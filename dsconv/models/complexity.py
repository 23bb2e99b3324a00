"""What a network costs: parameters and arithmetic of each layer, counted from shapes alone."""

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
    """One layer for one image.

    Attributes:
      path: 'block_0/depthwise'.
      kind: the class of the layer, as 'Conv'.
      output_shape: without the batch axis.
      parameters: trainable scalars.
      macs: multiply-accumulates of convolutions, dense layers and attention's two products.
      flops: 2 a multiply-accumulate, 1 a bias or a position added, 2 a normalised element, 1 an element pooled
        globally. Activations, residual additions, pooling between layers and local response norm are not counted.
      thesis_flops: the thesis's count: 1 a multiply-accumulate, 2 a normalised element, 1 an element pooled.
    """

    path: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    flops: int
    thesis_flops: int


@functools.cache  # a study asks again after each run
def layer_costs(model: nn.Module, image_shape: tuple[int, int, int]) -> list[LayerCost]:
    """Counts the costs of each layer that computes, in the order of the forward pass, for (height, width, channels)."""
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
        # Each place of the output applies the whole kernel once, grouped or not.
        macs = parameters['kernel'].size * outputs // output_shape[-1]
        flops, thesis_flops = 2 * macs + outputs * ('bias' in parameters), macs
    elif isinstance(layer, AttentionProduct):
        tokens = input_shape[0]  # each output sums over all of them, and each pair of them over a head's features
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
