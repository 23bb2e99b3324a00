"""Exact evaluation: every example counts once, whatever the batch size and the number of devices."""

import math

import jax
import numpy as np

from dsconv import data
from dsconv.training.mesh import make_mesh, to_global
from dsconv.training.state import debiased_average
from dsconv.training.step import make_forward, make_score


class Evaluator:
    """Scores a network's variables on a split of a dataset."""

    def __init__(self, config, model, mesh=None):
        self._mesh = make_mesh() if mesh is None else mesh
        self._forward = make_forward(config, model, self._mesh)
        self._score = make_score(self._forward)
        self._batch_size = math.ceil(config.eval.batch_size / self._mesh.size) * self._mesh.size

    def score(self, variables, split) -> dict[str, float]:
        """Mean `loss` (nats) and `accuracy` over the split; only their sums leave the device."""
        sums = None
        for batch in self._batches(split):
            batch_sums = self._score(variables, *to_global(self._mesh, batch))
            sums = batch_sums if sums is None else jax.tree.map(lambda a, b: a + b, sums, batch_sums)
        return {name: float(value) / split.num_examples for name, value in sums.items()}

    def log_probabilities(self, variables, split) -> np.ndarray:
        """float32 `(num_examples, classes)`, in the order of the split."""
        batches = [
            np.asarray(self._forward(variables, to_global(self._mesh, images))) for images, _, _ in self._batches(split)
        ]
        return np.concatenate(batches)[: split.num_examples]

    def _batches(self, split):
        return data.eval_batches(
            split,
            batch_size=self._batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )


def scored_variables(config, variables, average, updates: int):
    """Returns the variables to evaluate: the debiased EMA where `optimizer.ema_decay` is set.

    Args:
      config: resolved.
      variables: of the network.
      average: the EMA of the variables, or None.
      updates: steps taken, the skipped ones not among them: `step - nonfinite_steps` of the state.
    """
    if average is None or updates == 0:
        return variables
    return debiased_average(average, config.optimizer.ema_decay, updates)
