"""Checkpoints of a run, by Orbax: written in the background, the newest and the best by validation kept.

A checkpoint has two items: `model`, which is what evaluation needs, and `training`, the rest of the state.
"""

from pathlib import Path

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from dsconv.errors import InputError
from dsconv.training.state import TrainState


class Checkpoints:
    """The checkpoints in `workdir/checkpoints`; a context manager that waits for saves under way."""

    def __init__(self, workdir: Path, keep: int = 2, read_only: bool = False):
        self._directory = Path(workdir).absolute() / 'checkpoints'
        # `max_to_keep` with `best_fn` alone would delete the latest.
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(keep),
                checkpoint_managers.BestN(
                    get_metric_fn=_validation_accuracy, n=1, keep_checkpoints_without_metrics=False
                ),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self._directory,
            item_names=('model', 'training'),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy, best_fn=_validation_accuracy, read_only=read_only
            ),
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._manager.close()

    def save(self, state: TrainState, validation: dict | None) -> None:
        """Starts to save; the state may be donated at once. `validation` holds `accuracy`, where there is one."""
        model, training = _split(state)
        items = ocp.args.Composite(model=ocp.args.StandardSave(model), training=ocp.args.StandardSave(training))
        self._manager.save(int(state.step), args=items, metrics=validation)

    def latest(self) -> int | None:
        """The step of the newest checkpoint; None without one."""
        return self._manager.latest_step()

    def restore(self, step: int, shape: TrainState) -> TrainState:
        """The state at `step`, laid out as `shape`, a state of `jax.ShapeDtypeStruct` with shardings.

        Raises:
          InputError: the checkpoint is damaged, or of another network.
        """
        model, training = _split(shape)
        items = self._restore(step, model=model, training=training)
        return TrainState(**items.model, **items.training)

    def restore_model(self, step: int, shape: dict) -> dict:
        """`variables` and `average` alone of the state at `step`, laid out as `shape`, as for `restore`."""
        return self._restore(step, model=shape).model

    def _restore(self, step, **shapes):
        items = {name: ocp.args.StandardRestore(shape) for name, shape in shapes.items()}
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # Orbax and TensorStore raise whatever the damage happens to break
            others = ', '.join(str(other) for other in sorted(self._manager.all_steps()) if other != step) or 'none'
            raise InputError(
                f'{self._directory / str(step)} cannot be restored ({type(error).__name__}): it is damaged, or '
                f'config.json is not its own; move it away to use an older checkpoint (there are: {others})'
            ) from error

    def choose(self, which: str | None) -> int:
        """The step that a person means by 'latest', 'best', a number, or None (the best where there is one).

        Raises:
          InputError: there is no such checkpoint.
        """
        steps = self._manager.all_steps()
        if not steps:
            raise InputError(f'{self._directory} holds no checkpoint yet; train first')
        best = self._manager.best_step()
        if which is None:
            return best if best is not None else max(steps)
        if which == 'latest':
            return max(steps)
        if which == 'best':
            if best is None:
                raise InputError(
                    '--checkpoint=best: this run has no validation split to choose the best by (set '
                    'dataset.validation_fraction when training); take --checkpoint=latest'
                )
            return best
        if not which.isdecimal() or int(which) not in steps:
            raise InputError(f'--checkpoint={which}: there are latest, best, {", ".join(map(str, sorted(steps)))}')
        return int(which)


def with_shardings(shape, sharding):
    """Gives each `jax.ShapeDtypeStruct` of a pytree the sharding to restore onto."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shape)


def _split(state: TrainState) -> tuple[dict, dict]:
    model = {'variables': state.variables, 'average': state.average}
    return model, {'step': state.step, 'opt_state': state.opt_state, 'metrics': state.metrics}


def _validation_accuracy(metrics: dict) -> float:
    return metrics['accuracy']
