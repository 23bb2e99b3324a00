"""Checkpoints of a run, by Orbax: written in the background, the newest and the best by validation kept.

A checkpoint has three items: `model`, which is what evaluation needs; `training`, the rest of the state; `checksums` of
both, since not every flipped bit is noticed by the files' own format. What is damaged is never deleted: it is moved to
`workdir/damaged` when a run goes on from an older one.
"""

import contextlib
import itertools
import json
import logging
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from dsconv.errors import InputError, RunError
from dsconv.files import absolute, is_out_of_reach, make_directory
from dsconv.training.checksums import checksums
from dsconv.training.state import TrainState

logger = logging.getLogger('dsconv')


class Checkpoints:
    """The checkpoints in `workdir/checkpoints`; a context manager that waits for saves under way.

    Raises InputError where the metrics of all are damaged, or, `read_only`, of one; and RunError, in `save` or at the
    end, where a checkpoint could not be written.
    """

    def __init__(self, workdir: Path, keep: int = 2, read_only: bool = False):
        self._directory = absolute(workdir) / 'checkpoints'
        steps = sorted(int(path.name) for path in self._directory.glob('[0-9]*') if path.name.isdecimal())
        damaged = [step for step in steps if _has_damaged_metrics(self._directory / str(step))]
        if damaged and read_only:
            raise InputError(
                f'{self._directory / str(damaged[0])} is damaged: move it away, or go on with the training'
            )
        if damaged and damaged == steps:
            raise self._none_is_sound()
        if not read_only:
            self._set_aside(damaged)
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
            item_names=('model', 'training', 'checksums'),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy, best_fn=_validation_accuracy, read_only=read_only
            ),
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        with self._saving():
            self._manager.close()

    def save(self, state: TrainState, validation: dict | None) -> None:
        """Starts to save; the state may be donated at once. `validation` holds `accuracy`, where there is one."""
        model, training = _split(state)
        items = ocp.args.Composite(
            model=ocp.args.StandardSave(model),
            training=ocp.args.StandardSave(training),
            checksums=ocp.args.JsonSave(checksums({'model': model, 'training': training, 'metrics': validation})),
        )
        with self._saving():
            self._manager.save(int(state.step), args=items, metrics=validation, force=True)

    def save_network(self, step: int, variables) -> None:
        """Starts to save variables alone, for `restore_model`; there is no state that a run could go on from."""
        model = {'variables': variables, 'average': None}
        items = ocp.args.Composite(
            model=ocp.args.StandardSave(model),
            checksums=ocp.args.JsonSave(checksums({'model': model, 'metrics': None})),
        )
        with self._saving():
            self._manager.save(step, args=items, force=True)

    def restore_newest(self, shape: TrainState) -> TrainState | None:
        """The newest state that is sound, laid out as `shape`, a state of `jax.ShapeDtypeStruct` with shardings.

        Newer ones, which are damaged, are moved to `workdir/damaged` and named in a warning.

        Returns:
          None where there is no checkpoint at all.

        Raises:
          InputError: there are checkpoints, and none is sound. They stay where they are.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for index, step in enumerate(steps):
            state, fault = self._try_to_restore(step, shape)
            if not _anywhere(fault is not None):
                self._set_aside(steps[:index])
                self._manager.reload()
                return state
            logger.warning('%s: %s', self._directory / str(step), fault or 'damaged for another process')
        if steps:
            raise self._none_is_sound()
        return None

    def restore_model(self, step: int, shape: dict) -> dict:
        """`variables` and `average` alone of the state at `step`, laid out as `shape`, as for `restore_newest`.

        Raises:
          InputError: the checkpoint is damaged, or of another network.
        """
        try:
            return self._restore(step, model=shape)['model']
        except Exception as error:
            others = ', '.join(str(other) for other in sorted(self._manager.all_steps()) if other != step) or 'none'
            raise InputError(
                f'{self._directory / str(step)}: {_fault(error)}; choose another one by --checkpoint (there are: '
                f'{others})'
            ) from error

    def _try_to_restore(self, step, shape):
        """(state, None), or (None, what is wrong)."""
        model, training = _split(shape)
        try:
            items = self._restore(step, model=model, training=training)
            state = TrainState(**items['model'], **items['training'])
            if int(state.step) != step:
                raise _Damaged(f'holds step {int(state.step)}')
            return state, None
        except Exception as error:  # Orbax and TensorStore raise whatever the damage happens to break
            return None, _fault(error)

    def _restore(self, step, **shapes):
        items = {name: ocp.args.StandardRestore(shape) for name, shape in shapes.items()}
        items['checksums'] = ocp.args.JsonRestore()
        restored = dict(self._manager.restore(step, args=ocp.args.Composite(**items)))
        restored['metrics'] = self._manager.metrics(step)
        written, read = restored.pop('checksums'), checksums(restored)
        if wrong := [path for path, checksum in read.items() if written.get(path) != checksum]:
            raise _Damaged(f'{", ".join(wrong[:3])}{", …" if len(wrong) > 3 else ""} not as it was saved')
        return restored

    def _none_is_sound(self):
        return InputError(
            f'none of the checkpoints in {self._directory} can be restored: they are '
            f'damaged, or config.json is not their own. To start anew, move the directory away'
        )

    def _set_aside(self, steps):
        """By process 0; the others wait."""
        for step in steps if jax.process_index() == 0 else ():
            place = _free_place(self._directory.parent / 'damaged' / str(step))
            make_directory(place.parent)
            (self._directory / str(step)).rename(place)
            logger.warning('%s is damaged and now %s', self._directory / str(step), place)
        multihost_utils.sync_global_devices('damaged checkpoints set aside')

    @contextlib.contextmanager
    def _saving(self):
        try:
            yield
        except Exception as error:
            sound = ', '.join(path.name for path in sorted(self._directory.glob('[0-9]*')) if path.name.isdecimal())
            raise RunError(
                f'a checkpoint could not be written to {self._directory} ({_reason(error)}); there are: '
                f'{sound or "none"}. The same command goes on from the newest'
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
        if which not in map(str, steps):
            raise InputError(f'--checkpoint={which}: there are latest, best, {", ".join(map(str, sorted(steps)))}')
        return int(which)


class _Damaged(Exception):
    """What is restored is not what was saved."""


def _fault(error):
    """What is wrong with a checkpoint. Raises RunError where the store it is in is at fault: it may be sound."""
    if is_out_of_reach(error):
        raise RunError(
            f'the checkpoints could not be read ({_reason(error)}) and are as they were; try again once the object '
            f'store answers'
        ) from error
    if isinstance(error, _Damaged):
        return f'damaged, {error}'
    return f'cannot be restored ({type(error).__name__}): it is damaged, or config.json is not its own'


def _has_damaged_metrics(step: Path) -> bool:
    """Whether they are not as they were saved: by them Orbax tells which checkpoint is the best, and to be kept."""
    file = step / 'metrics' / 'metrics'
    try:
        metrics = json.loads(file.read_bytes()) if file.exists() else None
        read = checksums({'metrics': metrics})
    except (OSError, ValueError, TypeError):
        return step.exists()  # a run that goes on may have deleted it by now
    try:
        written = json.loads((step / 'checksums' / 'metadata').read_bytes())
    except (OSError, ValueError):  # said when it is restored
        return False
    return read != {path: written[path] for path in written if path.startswith("['metrics']")}


def _anywhere(flag: bool) -> bool:
    """Whether the flag is set in any process of the run."""
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def _free_place(path):
    numbered = (path.with_name(f'{path.name}-{number}') for number in itertools.count(2))
    return next(place for place in itertools.chain([path], numbered) if not place.exists())


def with_shardings(shape, sharding):
    """Gives each `jax.ShapeDtypeStruct` of a pytree the sharding to restore onto."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shape)


def _split(state: TrainState) -> tuple[dict, dict]:
    model = {'variables': state.variables, 'average': state.average}
    return model, {
        'step': state.step,
        'opt_state': state.opt_state,
        'metrics': state.metrics,
        'nonfinite_steps': state.nonfinite_steps,
    }


def _reason(error):
    """Of an error that may have come from any depth of Orbax and TensorStore, in a few words."""
    text = str(error)
    if 'No space left' in text or 'RESOURCE_EXHAUSTED' in text:
        return 'the disk is full'
    return f'{type(error).__name__}: {next(iter(text.splitlines()), "")[:200]}'


def _validation_accuracy(metrics: dict) -> float:
    return metrics['accuracy']
