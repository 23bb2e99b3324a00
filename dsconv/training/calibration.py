"""Temperature scaling: fits the temperature that calibrates a network and stores it with its checkpoint."""

import contextlib
import json
import math
from pathlib import Path

import numpy as np

from dsconv.errors import InputError
from dsconv.files import read_if_there, to_path, write_json
from dsconv.reporting.scores import with_temperature

RANGE = (1 / 20, 20)


def fit_temperature(labels: np.ndarray, log_probabilities: np.ndarray) -> float:
    """Returns the temperature, in `RANGE`, that fits float32 `(N, classes)` log-probabilities to int `(N,)` labels.

    It maximises the likelihood of the labels (Guo et al. 2017, arXiv:1706.04599, section 4.2) with a standard normal
    prior on its logarithm: a few correct examples do not give certainty. With hundreds the prior has no effect.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))

    def negative_log_posterior(log_temperature):
        scaled = with_temperature(log_probabilities, math.exp(log_temperature))
        return log_temperature**2 / 2 - scaled[rows, labels].sum()

    found = minimize_scalar(negative_log_posterior, bounds=tuple(map(math.log, RANGE)), method='bounded')
    return math.exp(found.x)


def save_temperature(workdir: Path, step: int, temperature: dict) -> None:
    """Writes the `temperature` of a checkpoint, and the `split` and number of `examples` on which it was fitted."""
    write_json(_file(workdir, step), temperature)


def read_temperature(workdir: Path, step: int) -> dict | None:
    """Returns the dict that `save_temperature` wrote, or None. Raises InputError if the file is damaged."""
    content = read_if_there(_file(workdir, step))
    if content is None:
        return None
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        kept = dict(json.loads(content))
        if RANGE[0] <= kept['temperature'] <= RANGE[1] and (type(kept['split']), type(kept['examples'])) == (str, int):
            return kept
    command = f'python -m dsconv.evaluate --workdir={workdir} --calibrate'
    raise InputError(f'{_file(workdir, step)} is damaged: remove it, or fit it again with {command}')


def _file(workdir, step):
    return to_path(workdir) / 'checkpoints' / str(step) / 'temperature.json'
