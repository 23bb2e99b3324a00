"""The state that training carries from step to step."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Metrics:
    """Sums over the steps since the last line of the log; in the state, so that a resumed run logs the same lines.

    Excludes steps with a non-finite loss or gradient. `nonfinite_*` describe the first one, numbered from 1 (0: none).
    """

    steps: jax.Array
    loss: jax.Array
    accuracy: jax.Array
    grad_norm: jax.Array
    nonfinite_step: jax.Array
    nonfinite_loss: jax.Array
    nonfinite_grad_norm: jax.Array

    @classmethod
    def zeros(cls):
        """Returns the zeroed metrics."""
        counts = {'steps', 'nonfinite_step'}
        return cls(*(jnp.int32(0) if field in counts else jnp.float32(0) for field in cls.__dataclass_fields__))


@flax.struct.dataclass
class TrainState:
    """The state of a run after `step` steps, replicated over the mesh.

    Attributes:
      variables: the network's `params` and, with batch norm, `batch_stats`; float32.
      average: exponential moving average (EMA) of `variables`, started at zero (`scored_variables`); None if unset.
      opt_state: the state of the Optax optimizer.
      nonfinite_steps: int32 scalar, the number of steps of the run whose loss or gradient was not finite. With
        `max_skipped_steps` above 0 these steps are skipped: they advance neither `average` nor the schedule.
    """

    step: jax.Array
    variables: Any
    average: Any
    opt_state: Any
    metrics: Metrics
    nonfinite_steps: jax.Array


def init_variables(model, image_shape: tuple[int, int, int], seed: int):
    """Returns the network's initial variables for images of (height, width, channels)."""
    return model.init(jax.random.key(seed), jnp.zeros((1, *image_shape)))


def create_state(model, optimizer, image_shape: tuple[int, int, int], seed: int, averaging: bool) -> TrainState:
    """Returns the state before the first step; `image_shape` is (height, width, channels)."""
    variables = init_variables(model, image_shape, seed)
    return TrainState(
        step=jnp.int32(0),
        variables=variables,
        average=jax.tree.map(jnp.zeros_like, variables) if averaging else None,
        opt_state=optimizer.init(variables['params']),
        metrics=Metrics.zeros(),
        nonfinite_steps=jnp.int32(0),
    )
