"""Checkpoints of a run, by Orbax: written in the background, the newest and the best by validation kept.

A checkpoint has three items: `model`, which is what evaluation needs; `training`, the rest of the state; `checksums` of
both, since not every flipped bit is noticed by the files' own format.

A checkpoint is damaged when it fails its checksums, does not parse, is incomplete or of the wrong kind. It is never
deleted: it is moved to `workdir/damaged` when a run goes on from an older one. Whatever else keeps it from being read
(a stale handle, a broken disk, too many open files, no memory, a time-out) ends the run, and nothing is moved.
"""

import contextlib
import errno
import itertools
import json
import logging
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from dsconv.errors import InputError, RunError, status_of, with_causes
from dsconv.files import (
    WRONG_KIND,
    absolute,
    describe,
    is_passing,
    is_remote,
    make_directory,
    read_if_there,
    read_through,
)
from dsconv.training.checksums import checksums
from dsconv.training.state import TrainState

logger = logging.getLogger('dsconv')
TRIES = 2  # Orbax takes a file whose status cannot be read for a missing one: a passing fault is gone the second time
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Checkpoints:
    """The checkpoints in `workdir/checkpoints`; a context manager that waits for saves under way.

    Raises:
      InputError: the metrics of all are damaged, or, `read_only`, of one.
      RunError: the directory could not be read; or, in `save` or at the end, a checkpoint could not be written.
    """

    def __init__(self, workdir: Path, keep: int = 2, read_only: bool = False):
        self._directory = absolute(workdir) / 'checkpoints'
        with self._reading():
            steps = self._listed()
            damaged = [step for step in steps if _is_plainly_damaged(self._directory / str(step))]
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
        with self._reading():
            self._manager = ocp.CheckpointManager(
                self._directory,
                item_names=('model', 'training', 'checksums'),
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=policy, best_fn=_validation_accuracy, read_only=read_only
                ),
            )
            # Orbax leaves out a directory whose status it cannot read.
            missed = set(steps) - set(damaged) - set(self._manager.all_steps())
            if not is_remote(self._directory) and missed & set(self._listed()):
                raise OSError(f'step {min(missed)} is there, and was not found')

    def _listed(self) -> list[int]:
        """The steps in the directory, in order; raises OSError where it cannot be read."""
        try:
            return sorted(int(path.name) for path in self._directory.iterdir() if path.name.isdecimal())
        except Exception as error:
            if isinstance(error, FileNotFoundError) or status_of(error) == 'NOT_FOUND':
                return []
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        with self._saving():
            self._manager.close()

    def save(self, state: TrainState, validation: dict | None) -> None:
        """Starts to save; the state may be donated at once. `validation` holds `accuracy`, where there is one."""
        self._save(int(state.step), *_split(state), validation)

    def save_network(self, step: int, variables) -> None:
        """Starts to save variables alone, for `restore_model`; there is no state that a run could go on from."""
        self._save(step, {'variables': variables, 'average': None}, {'nonfinite_steps': np.int32(0)}, None)

    def _save(self, step, model, training, metrics):
        items = ocp.args.Composite(
            model=ocp.args.StandardSave(model),
            training=ocp.args.StandardSave(training),
            checksums=ocp.args.JsonSave(checksums({'model': model, 'training': training, 'metrics': metrics})),
        )
        with self._saving():
            self._manager.save(step, args=items, metrics=metrics, force=True)

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
            for _ in range(TRIES):
                state, fault = self._try_to_restore(step, shape)
                if not _anywhere(fault is not None):
                    if index:
                        self._set_aside(steps[:index])
                        with self._reading():
                            self._manager.reload()
                    return state
            logger.warning('%s: %s', self._directory / str(step), fault or 'damaged for another process')
        if steps:
            raise self._none_is_sound()
        return None

    def restore_model(self, step: int, shape: dict) -> dict:
        """Restores what evaluation needs of the state at `step`.

        Args:
          step: of `choose`.
          shape: of `variables` and `average`, laid out as for `restore_newest`.

        Returns:
          `variables`, `average` and, an int, `nonfinite_steps`.

        Raises:
          InputError: the checkpoint is damaged, or of another network.
          RunError: it could not be read.
        """
        for attempt in range(TRIES):
            try:
                items = self._restore(step, model=shape)
                return items['model'] | {'nonfinite_steps': int(items['training']['nonfinite_steps'])}
            except Exception as error:
                fault = self._fault(step, error)
                if attempt + 1 < TRIES:
                    continue
                others = ', '.join(str(other) for other in sorted(self._manager.all_steps()) if other != step)
                raise InputError(
                    f'{self._directory / str(step)}: {fault}; choose another one by --checkpoint (there are: '
                    f'{others or "none"})'
                ) from error

    def _try_to_restore(self, step, shape):
        """(state, None), or (None, what is wrong). Raises RunError of a fault that is not in the checkpoint."""
        model, training = _split(shape)
        try:
            items = self._restore(step, model=model, training=training)
            state = TrainState(**items['model'], **items['training'])
            if int(state.step) != step:
                raise _Damaged(f'holds step {int(state.step)}')
            return state, None
        except Exception as error:  # Orbax and TensorStore raise whatever the damage happens to break
            return None, self._fault(step, error)

    def _fault(self, step, error):
        """What is wrong with a checkpoint that `error` kept from being restored. Raises RunError where it may be
        sound."""
        with self._reading():
            if is_passing(error):
                raise error
            if not is_remote(self._directory):
                read_through(self._directory / str(step))
        if isinstance(error, _Damaged):
            return f'damaged, {error}'
        logger.debug('%s', self._directory / str(step), exc_info=error)
        return f'cannot be restored ({type(error).__name__}): it is damaged, or config.json is not its own'

    @contextlib.contextmanager
    def _reading(self):
        try:
            yield
        except Exception as error:
            raise RunError(
                f'the checkpoints in {self._directory} could not be read ({describe(error)}) and are as they were; try '
                f'again'
            ) from error

    def _restore(self, step, **shapes):
        items = {name: ocp.args.StandardRestore(shape) for name, shape in shapes.items()}
        items['checksums'] = ocp.args.JsonRestore()
        restored = dict(self._manager.restore(step, args=ocp.args.Composite(**items)))
        if 'training' not in shapes:
            restored['training'] = _restore_nonfinite_steps(self._directory / str(step) / 'training')
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
            sound = ', '.join(map(str, self._listed())) or 'none'
            raise RunError(
                f'a checkpoint could not be written to {self._directory} ({_reason(error)}); there are: {sound}. The '
                f'same command goes on from the newest'
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


def _is_plainly_damaged(step: Path) -> bool:
    """Whether the step is no directory, or its metrics are not as they were saved: by them Orbax tells which checkpoint
    is the best, and to be kept. Raises OSError where they cannot be read."""
    try:
        metrics = read_if_there(step / 'metrics' / 'metrics')
        read = checksums({'metrics': None if metrics is None else json.loads(metrics)})
    except (ValueError, TypeError, *WRONG_KIND):
        return step.exists()  # a run that goes on may have deleted it by now
    try:
        written = json.loads(read_if_there(step / 'checksums' / 'metadata') or b'')
        expected = {path: written[path] for path in written if path.startswith("['metrics']")}
    except (ValueError, TypeError, AttributeError, *WRONG_KIND):  # said when it is restored
        return False
    return read != expected and step.exists()


def _anywhere(flag: bool) -> bool:
    """Whether the flag is set in any process of the run."""
    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def _free_place(path):
    numbered = (path.with_name(f'{path.name}-{number}') for number in itertools.count(2))
    return next(place for place in itertools.chain([path], numbered) if not place.exists())


def _restore_nonfinite_steps(directory):
    """That leaf alone of the item `training`, whose other leaves need the optimizer to be known."""
    name = 'nonfinite_steps'
    arguments = ocp.args.PyTreeRestore(
        {name: np.int32(0)}, restore_args={name: ocp.RestoreArgs(restore_type=np.ndarray)}, partial_restore=True
    )
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        return checkpointer.restore(directory, args=arguments)


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
    links = list(with_causes(error))
    if any(isinstance(link, OSError) and link.errno in DISK_FULL for link in links):
        return f'the disk is full: {describe(error)}'
    if any(status_of(link) == 'RESOURCE_EXHAUSTED' for link in links):
        return f'the disk, or what a process may open, is full: {describe(error)}'
    return describe(error)


def _validation_accuracy(metrics: dict) -> float:
    return metrics['accuracy']
