"""Exact evaluation: every example counts once, for any batch size and number of devices."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dsconv import data
from dsconv.training.memory import naming_remedies
from dsconv.training.mesh import make_mesh, peers, to_global
from dsconv.training.step import make_forward


class Evaluator:
    """Scores a network's variables on a split of a dataset; with `tta`, by test-time augmentation (`make_forward`)."""

    def __init__(self, config, model, mesh=None, tta: bool = False):
        self._mesh = make_mesh() if mesh is None else mesh
        self._batch_size = math.ceil(config.eval.batch_size / self._mesh.size) * self._mesh.size
        self._forward = forward = make_forward(config, model, self._mesh, tta)

        @jax.jit
        def score(variables, images, labels, mask):
            log_probabilities = forward(variables, images)
            losses = -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]
            hits = jnp.argmax(log_probabilities, axis=-1) == labels
            return {'loss': jnp.sum(losses, where=mask), 'accuracy': jnp.sum(hits, where=mask)}

        self._score = score

    def score(self, variables, split) -> dict[str, float]:
        """Returns the mean `loss` (nats) and `accuracy` over the split; only their sums leave the device."""
        sums = (self._score(variables, *to_global(self._mesh, batch)) for batch in self._batches(split))
        smaller = f'resume training with --config.eval.batch_size below {self._size(split)}'
        with naming_remedies(f'{smaller}, or evaluate with JAX_PLATFORMS=cpu'):
            total = functools.reduce(optax.tree.add, sums)
            return {name: float(value) / split.num_examples for name, value in total.items()}

    def log_probabilities(self, variables, split) -> np.ndarray:
        """Returns the log-probabilities, float32 `(num_examples, classes)`, in the order of the split."""
        batches = (self._forward(variables, to_global(self._mesh, images)) for images, _, _ in self._batches(split))
        with naming_remedies('evaluate with JAX_PLATFORMS=cpu'):
            return np.concatenate([np.asarray(batch) for batch in batches])[: split.num_examples]

    def _batches(self, split):
        return data.eval_batches(split, batch_size=self._size(split), processes=peers())

    def _size(self, split) -> int:
        return min(self._batch_size, math.ceil(split.num_examples / self._mesh.size) * self._mesh.size)


def scored_variables(config, variables, average, updates: int):
    """Returns the variables to evaluate: the bias-corrected EMA, or `variables` if there is no EMA or no update."""
    if average is None or updates == 0:
        return variables
    share = ema_share(config, updates)
    return jax.tree.map(lambda value: value / share, average)


def ema_share(config, updates: int) -> float:
    """Returns 1 − dᵗ, the weight of t = `updates` values in a zero-initialised EMA of decay d (Kingma & Ba 2014)."""
    decay = 1 - float(np.float32(1 - config.optimizer.ema_decay))  # as in the training step, whose rate is float32
    return 1 - decay**updates
