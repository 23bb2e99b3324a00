"""Checkpoints of a run, by Orbax: saved in the background; the newest and the best by validation are kept.

A checkpoint has three items: `model`, which evaluation needs; `training`, the rest of the state; and `checksums` of
both and of the metrics, because the format of the files does not detect every flipped bit.

A checkpoint is damaged if its checksums do not match, it cannot be parsed, or files are missing or of the wrong kind.
It is never deleted: it is moved to `workdir/damaged` when a run resumes from an older checkpoint. Any other read error
(a stale handle, a broken disk, too many open files, no memory, a time-out) ends the run, and nothing is moved.
"""

import contextlib
import errno
import itertools
import json
import logging
import operator
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from dsconv import files
from dsconv.config import is_saved
from dsconv.errors import InputError, RunError, status_of, with_causes
from dsconv.files import describe, is_remote
from dsconv.training.checksums import checksums, has_damaged_metrics
from dsconv.training.mesh import peers
from dsconv.training.state import TrainState

logger = logging.getLogger('dsconv')
TRIES = 2  # Orbax treats a file whose status cannot be read as missing; a transient fault is gone on the second try
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Checkpoints(contextlib.AbstractContextManager):
    """The checkpoints in `workdir/checkpoints`; a context manager that waits for pending saves at its exit.

    One object restores either states or networks: Orbax binds a handler to the item `training` at its first use.
    Raises InputError if the metrics of all checkpoints (with `read_only`, of any) are damaged, or if the processes of
    the run see different checkpoints; RunError if a checkpoint cannot be read or written.
    """

    def __init__(self, workdir: Path, keep: int = 2, read_only: bool = False):
        self._directory = files.absolute(workdir) / 'checkpoints'
        self._aside = {}
        with self._reading():
            steps = self._listed()
            damaged = self._damaged(steps)
            if damaged and read_only:  # a run that is still training may be deleting it: check again
                time.sleep(1)
                damaged = self._damaged(damaged)
        if not read_only and not peers().agree(steps, damaged):
            remedy = 'give all the same --workdir, on storage that they share'
            raise InputError(f'{self._directory}: the processes of the run see different checkpoints: {remedy}')
        if damaged and read_only:
            step = self._directory / str(damaged[0])
            raise InputError(f'{step} is damaged: move it to another place, or resume the training, which does so')
        if damaged and damaged == steps:
            raise self._none_is_sound()
        if not read_only:
            self._set_aside(damaged)
        accuracy = operator.itemgetter('accuracy')
        best = checkpoint_managers.BestN(get_metric_fn=accuracy, n=1, keep_checkpoints_without_metrics=False)
        # `max_to_keep` with `best_fn` alone would delete the latest checkpoint.
        policy = checkpoint_managers.AnyPreservationPolicy([checkpoint_managers.LatestN(keep), best])
        options = ocp.CheckpointManagerOptions(preservation_policy=policy, best_fn=accuracy, read_only=read_only)
        with self._reading():
            names = ('model', 'training', 'checksums')
            self._manager = ocp.CheckpointManager(self._directory, item_names=names, options=options)
            # Orbax omits a directory whose status it cannot read.
            missed = set(steps) - set(damaged) - set(self._manager.all_steps())
            if not is_remote(self._directory) and missed & set(self._listed()):
                raise OSError(f'step {min(missed)} is there, and was not found')

    def _damaged(self, steps) -> list[int]:
        return [step for step in steps if has_damaged_metrics(self._directory / str(step))]

    def _listed(self) -> list[int]:
        """Returns the sorted steps in the directory, or [] if it is missing; raises any other read error."""
        try:
            return sorted(int(path.name) for path in self._directory.iterdir() if is_saved(path))
        except Exception as error:
            if isinstance(error, FileNotFoundError) or status_of(error) == 'NOT_FOUND':
                return []
            raise

    def __exit__(self, *exception):
        with self._saving():
            self._manager.close()

    @contextlib.contextmanager
    def finishing(self):
        """Waits at its exit for pending saves, while `StopRequest` still keeps a signal from ending the run."""
        try:
            yield
        finally:
            with self._saving():
                self._manager.wait_until_finished()

    def save(self, state: TrainState, validation: dict | None) -> None:
        """Starts to save; the state may be donated at once. `validation` holds at least `accuracy`, or is None."""
        self._save(int(state.step), *_split(state), validation)

    def save_network(self, step: int, variables) -> None:
        """Starts to save variables alone, for `restore_model`; training cannot be resumed from them."""
        self._save(step, {'variables': variables, 'average': None}, {'nonfinite_steps': np.int32(0)}, None)

    def _save(self, step, model, training, metrics):
        metrics = json.loads(json.dumps(metrics))  # as read back: JSON has one NaN, floats have several
        # Saving and restoring use arrays on the host: with arrays on devices, Orbax takes several times as long.
        model, training = jax.device_get((model, training))
        items = ocp.args.Composite(
            model=ocp.args.StandardSave(model),
            training=ocp.args.StandardSave(training),
            checksums=ocp.args.JsonSave(checksums({'model': model, 'training': training, 'metrics': metrics})),
        )
        with self._saving():
            self._manager.save(step, args=items, metrics=metrics, force=True)

    def restore_newest(self, shape: TrainState) -> TrainState | None:
        """Restores the newest undamaged state, laid out as `shape`, a state of `jax.ShapeDtypeStruct`.

        Returns None if there are no checkpoints. Moves newer, damaged checkpoints to `workdir/damaged` and logs a
        warning for each. Raises InputError if all checkpoints are damaged; all of them then stay in place.
        """
        model, training = _split(shape)
        steps = sorted(self._manager.all_steps(), reverse=True)
        for index, step in enumerate(steps):
            items, fault = self._restore(step, model=model, training=training)
            if items:
                if index:
                    self._set_aside(steps[:index])
                    with self._reading():
                        self._manager.reload()
                return TrainState(**items['model'], **items['training'])
            logger.warning('%s: %s', self._directory / str(step), fault)
        if steps:
            self._put_back()
            raise self._none_is_sound()
        return None

    def restore_model(self, step: int, shape: dict) -> dict:
        """Returns `variables` and `average` of a state, laid out as `shape`, and its `nonfinite_steps`, an int.

        Raises InputError if the checkpoint is damaged or is of another network; RunError if it cannot be read.
        """
        items, fault = self._restore(step, model=shape)
        if items:
            return items['model'] | {'nonfinite_steps': int(items['training']['nonfinite_steps'])}
        others = ', '.join(str(other) for other in sorted(self._manager.all_steps()) if other != step) or 'none'
        raise InputError(
            f'{self._directory / str(step)}: {fault}; move it to another place, or choose another one '
            f'with --checkpoint (available: {others})'
        )

    def _restore(self, step, **shapes):
        """Returns (items, None), or (None, description of the fault). All processes of a run agree on which."""
        for _ in range(TRIES):
            items = fault = None
            try:
                items = self._read(step, shapes)
            except Exception as error:  # the type depends on what the damage breaks in Orbax or TensorStore
                fault = self._fault(step, error)
            if not peers().gather(np.array(fault is not None)).any():
                return items, None
        return None, fault or 'damaged for another process'

    def _read(self, step, shapes):
        on_host = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes)
        items = {name: ocp.args.StandardRestore(tree) for name, tree in on_host.items()}
        items['checksums'] = ocp.args.JsonRestore()
        if 'training' not in shapes:  # restores one leaf: the others need the optimizer
            leaf, as_array = {'nonfinite_steps': np.int32(0)}, {'nonfinite_steps': ocp.RestoreArgs(np.ndarray)}
            items['training'] = ocp.args.PyTreeRestore(leaf, restore_args=as_array, partial_restore=True)
        restored = dict(self._manager.restore(step, args=ocp.args.Composite(**items)))
        restored['metrics'] = self._manager.metrics(step)
        written, read = restored.pop('checksums'), checksums(restored)
        if wrong := [path for path, checksum in read.items() if written.get(path) != checksum]:
            raise _Damaged(f'wrong checksum of {", ".join(wrong[:3])}{", …" if len(wrong) > 3 else ""}')
        if (held := int(restored['training'].get('step', step))) != step:
            raise _Damaged(f'holds step {held}')

        def on_devices(leaf, array):
            return jax.make_array_from_process_local_data(leaf.sharding, array, leaf.shape)

        return restored | {name: jax.tree.map(on_devices, tree, restored[name]) for name, tree in shapes.items()}

    def _fault(self, step, error):
        """Describes the damage of a checkpoint that raised `error`. Raises RunError if it may be undamaged."""
        with self._reading():
            if files.is_passing(error):
                raise error
            if not is_remote(self._directory):
                files.read_through(self._directory / str(step))
        if isinstance(error, _Damaged):
            return f'damaged, {error}'
        logger.debug('%s', self._directory / str(step), exc_info=error)
        return f'cannot be restored ({type(error).__name__}): it is damaged, or config.json does not match it'

    @contextlib.contextmanager
    def _reading(self):
        try:
            yield
        except Exception as error:
            raise RunError(
                f'the checkpoints in {self._directory} could not be read ({describe(error)}) and are unchanged: '
                f'run the same command again'
            ) from error

    @contextlib.contextmanager
    def _saving(self):
        try:
            yield
        except Exception as error:
            sound = ', '.join(map(str, self._listed())) or 'none'
            raise RunError(
                f'a checkpoint could not be written to {self._directory} ({_reason(error)}); complete checkpoints: '
                f'{sound}. Remove the cause and run the same command: it resumes from the newest'
            ) from error

    def _none_is_sound(self):
        return InputError(
            f'none of the checkpoints in {self._directory} can be restored: they are damaged, or config.json does '
            f'not match them. To start from the beginning, move this directory to another place'
        )

    def _set_aside(self, steps):
        """Moves checkpoints to `workdir/damaged` in process 0; the other processes wait."""
        for step in steps if jax.process_index() == 0 else ():
            place = self._directory.parent / 'damaged' / str(step)
            files.make_directory(place.parent)
            numbered = (place.with_name(f'{step}-{number}') for number in itertools.count(2))
            free = next(path for path in itertools.chain([place], numbered) if not path.exists())
            (self._directory / str(step)).rename(free)
            self._aside[step] = free
            logger.warning('%s is damaged and was moved to %s', self._directory / str(step), free)
        multihost_utils.sync_global_devices('damaged checkpoints set aside')

    def _put_back(self):
        """Undoes `_set_aside` in process 0, if the other checkpoints turn out to be damaged too."""
        for step, place in self._aside.items():
            place.rename(self._directory / str(step))
            logger.warning('%s was moved back to %s', place, self._directory / str(step))

    def choose(self, which: str | None) -> int:
        """Returns the step for 'latest', 'best', a number, or None (the best, else the latest); raises InputError."""
        steps, best = sorted(self._manager.all_steps()), self._manager.best_step()
        if not steps:
            raise InputError(f'{self._directory} holds no checkpoint yet; train first')
        if which == 'best' and best is None:
            raise InputError(
                '--checkpoint=best: this run has no validation split that selects the best checkpoint '
                '(set dataset.validation_fraction when training); use --checkpoint=latest'
            )
        by_name = {None: steps[-1] if best is None else best, 'latest': steps[-1], 'best': best}
        by_name |= {str(step): step for step in steps}
        if which not in by_name:
            raise InputError(f'--checkpoint={which}: not available; use latest, best, {", ".join(map(str, steps))}')
        return by_name[which]


class _Damaged(Exception):
    """The restored content differs from the saved content."""


def _split(state: TrainState) -> tuple[dict, dict]:
    training = {name: getattr(state, name) for name in ('step', 'opt_state', 'metrics', 'nonfinite_steps')}
    return {'variables': state.variables, 'average': state.average}, training


def _reason(error):
    links = list(with_causes(error))
    if any(isinstance(link, OSError) and link.errno in DISK_FULL for link in links):
        return f'the disk is full: {describe(error)}'
    if any(status_of(link) == 'RESOURCE_EXHAUSTED' for link in links):
        return f'the disk is full, or too many files are open: {describe(error)}'
    return describe(error)
