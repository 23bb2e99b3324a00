"""The network of a run as a pure function from pictures to probabilities, and as a graph for the exporters."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dsconv.exporting.graph import Node, read
from dsconv.exporting.norm_folding import fold
from dsconv.training.network import build_network, image_shape
from dsconv.training.step import normalise


@dataclasses.dataclass(frozen=True)
class Exported:
    """A network to export: the `variables` of a checkpoint, its `step`, and the resolved `config` of its run.

    The logits are divided by the `temperature` from `read_temperature`, if any.
    """

    config: object
    variables: dict
    step: int
    temperature: dict | None = None

    def logits(self, images, implementation: str = 'plain'):
        """Returns float32 logits `(batch, classes)`, divided by the temperature; images are uint8 or float32 in [0, 1].

        The 'plain' implementation keeps a depthwise convolution as one operation; the fast implementation may compute
        it as shifted products.
        """
        dataset = self.config.dataset
        if images.dtype == jnp.float32:
            images = (images - jnp.asarray(dataset.mean, jnp.float32)) / jnp.asarray(dataset.std, jnp.float32)
        else:
            images = normalise(images, dataset.mean, dataset.std)
        logits = self.module(implementation).apply(self.variables, images)
        return logits / self.temperature['temperature'] if self.temperature else logits

    def module(self, implementation: str = 'plain') -> nn.Module:
        """Returns the Linen module, in float32."""
        config = self.config.copy_and_resolve_references()
        config.model.update({'dtype': 'float32', 'implementation': implementation})
        return build_network(config)

    def reference(self) -> Callable:
        """Returns the network as JAX runs it here: uint8 images → probabilities, a NumPy array."""
        jitted = jax.jit(lambda images: jax.nn.softmax(self.logits(images, implementation='auto')))
        return lambda images: np.asarray(jitted(images))

    def graph(self, float_input: bool = False) -> list[Node]:
        """Returns the graph from one picture to its probabilities, with norms folded."""
        graph = read(self.logits, self._images(1, float_input))
        logits = graph[-1]
        graph.append(Node('softmax', [logits], {}, logits.shape, np.dtype(np.float32)))
        return fold(graph)

    def stablehlo(self, float_input: bool = False) -> jax.export.Exported:
        """Exports the function from any number of pictures to their probabilities, for CPU, GPU and TPU."""
        (batch,) = jax.export.symbolic_shape('batch')
        probabilities = jax.jit(lambda images: jax.nn.softmax(self.logits(images)))
        return jax.export.export(probabilities, platforms=['cpu', 'cuda', 'tpu'])(self._images(batch, float_input))

    def _images(self, batch, float_input):
        return jax.ShapeDtypeStruct((batch, *image_shape(self.config)), jnp.float32 if float_input else jnp.uint8)
