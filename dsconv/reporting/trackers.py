"""Sends the scalars of TensorBoard to Weights & Biases and MLflow, if `log.trackers` names them.

The environment sets their destination: WANDB_MODE, WANDB_PROJECT, MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME, ….
"""

import contextlib
import importlib.util
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dsconv.errors import InputError, Preempted, log_traceback
from dsconv.files import is_remote, read_if_there, replace_file

logger = logging.getLogger('dsconv')
FILE_NAME = 'trackers.json'  # in the workdir: the id of the run in each tracker, so that a resumed run continues it


class Tracker(NamedTuple):
    """An open run of a tracker: `id`, `write(scalars, step)` and `close(failed)`."""

    id: str
    write: Callable
    close: Callable


def _name(workdir):
    """Returns the name of a run: its directory, or VARIANT/DIRECTORY in a study."""
    return f'{workdir.parent.name}/{workdir.name}' if workdir.parent.parent.name == 'cells' else workdir.name


def _wandb(workdir: Path, config: dict, run: str | None) -> Tracker:
    import wandb

    place = dict(project=os.environ.get('WANDB_PROJECT', 'dsconv'), dir=None if is_remote(workdir) else workdir)
    options = dict(name=_name(workdir), config=config, id=run, resume='allow', settings=wandb.Settings(console='off'))
    opened = wandb.init(**place, **options)
    return Tracker(opened.id, opened.log, lambda failed: opened.finish(exit_code=int(failed)))


def _mlflow(workdir: Path, config: dict, run: str | None) -> Tracker:
    import mlflow

    opened = mlflow.start_run(run_id=run, run_name=None if run else _name(workdir))

    def close(failed):
        mlflow.end_run('FAILED' if failed else 'FINISHED')

    try:
        if not run:
            mlflow.log_params(config)
    except Exception:
        with contextlib.suppress(Exception):
            close(True)
        raise
    return Tracker(opened.info.run_id, mlflow.log_metrics, close)


TRACKERS = {'wandb': _wandb, 'mlflow': _mlflow}  # name → function of (workdir, parameters, id of a resumed run or None)


def check_trackers(names) -> None:
    """Raises InputError if the package of one of `names` is not installed."""
    for name in names or ():
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # a namespace package is only a directory, such as wandb's logs
            raise InputError(f'log.trackers={name} needs a package that is not installed: pip install {name}')


class Trackers(contextlib.AbstractContextManager):
    """Context manager that sends scalars to trackers; a tracker that fails is named in a warning and dropped."""

    def __init__(self, names, workdir: Path, config: dict, is_resumed: bool):
        """Opens or resumes a run in each of `names`, with the parameters `config`; raises InputError if one fails."""
        file = workdir / FILE_NAME
        try:
            runs = dict(json.loads((read_if_there(file) if names and is_resumed else None) or '{}'))
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f'{file} is damaged ({error}): remove it to start a new run in the trackers') from error
        self._open = {}
        for name in names or ():
            try:
                self._open[name] = TRACKERS[name](workdir, config, runs.get(name))
                runs[name] = self._open[name].id
                replace_file(file, json.dumps(runs).encode())
            except Exception as error:  # of any type, such as a missing API key or network
                self.__exit__(type(error))
                raise InputError(f'log.trackers={name}: {" ".join(str(error).split())[:300]}') from error

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Sends the scalars of a step."""
        self._tell(lambda tracker: tracker.write(scalars, step=step))

    def __exit__(self, *exception) -> None:
        self._tell(lambda tracker: tracker.close(exception[0] not in (None, Preempted)))

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            try:
                what(tracker)
            except Exception as error:
                log_traceback(error)
                logger.warning('log.trackers=%s failed (%s): nothing more is logged to it in this run', name, error)
                del self._open[name]
                with contextlib.suppress(Exception):  # otherwise, the next run of this process could not start there
                    tracker.close(True)
