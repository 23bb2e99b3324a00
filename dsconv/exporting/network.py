"""The network of a run as a pure function from pictures to probabilities, and as the graph that files are made of."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dsconv import config as configuration
from dsconv.config_checks import check_resolved
from dsconv.exporting.folding import fold
from dsconv.exporting.graph import Graph, Node, read
from dsconv.training.scoring import restore_network
from dsconv.training.setup import build_network, image_shape
from dsconv.training.step import normalise


@dataclasses.dataclass(frozen=True)
class Exported:
    """What is exported.

    Attributes:
      config: of the run, resolved; float32.
      variables: of the network that it describes.
      step: of the checkpoint.
    """

    config: object
    variables: dict
    step: int

    @classmethod
    def of_run(cls, workdir: Path, which: str | None = None) -> 'Exported':
        """Restores a run. Raises InputError where there is no run, or no such checkpoint."""
        config = configuration.load_run(workdir)
        check_resolved(config)
        _, variables, step = restore_network(workdir, config, which)
        return cls.of(config, jax.device_get(variables), step)

    @classmethod
    def of(cls, config, variables, step: int = 0) -> 'Exported':
        """Takes variables as they are."""
        config = config.copy_and_resolve_references()
        # In float32, and by plain layers: a depthwise convolution stays one, instead of the sum of shifted products.
        config.model.update({'dtype': 'float32', 'implementation': 'plain'})
        return cls(config, variables, step)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a picture."""
        return image_shape(self.config)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.config.dataset.class_names)

    def logits(self, images, float_input: bool = False):
        """Returns float32 `(batch, classes)`, of uint8 images or of float32 ones in [0, 1]."""
        dataset = self.config.dataset
        if float_input:
            images = (images - jnp.asarray(dataset.mean, jnp.float32)) / jnp.asarray(dataset.std, jnp.float32)
        else:
            images = normalise(images, dataset.mean, dataset.std)
        return build_network(self.config).apply(self.variables, images)

    def probabilities(self, images, float_input: bool = False):
        """Returns float32 `(batch, classes)`."""
        return jax.nn.softmax(self.logits(images, float_input))

    @functools.cache
    def graph(self, float_input: bool = False) -> Graph:
        """Returns the graph of the probabilities of one picture, norms folded."""
        image = jax.ShapeDtypeStruct((1, *self.shape), jnp.float32 if float_input else jnp.uint8)
        graph = read(functools.partial(self.logits, float_input=float_input), image)
        logits = graph.nodes[-1]
        graph.nodes.append(Node('softmax', [logits], {}, logits.shape, np.dtype(np.float32)))
        return fold(graph)

    __hash__ = object.__hash__
