"""A process of its own for one measurement of one library's network: it starts, compiles, is timed, and ends.

    python -m dsconv.performance.contender MODULE SETTINGS

The module's `prepare(settings)` returns a dict: `parameters`, their number; `inference`, a function that returns the
logits of the batch; `train`, one that takes a training step on it and returns its loss. Both return when the work is
done. Nothing heavy is imported on the way, so that no library meets another: PyTorch crashes beside TensorFlow.
"""

import importlib
import json
import math
import os
import subprocess
import sys

from dsconv.config import ROOT
from dsconv.performance.timing import seconds_of_calls
from dsconv.performance.worker import failure, take_stdout
from dsconv.process import ALLOCATOR, prepare_process

WARM_UP = 2  # the first call compiles; the second may again, for the layouts that the first has left
CHECKED = 32  # images whose logits are reported


def measure_apart(module: str, settings: dict, environment: dict) -> dict:
    """Starts `module` in `environment`, waits for its end, and returns what it found.

    Args:
      settings: for its `prepare`, and `steps`, `as_command` for the process: whether it first starts itself anew, as
        this project's commands do (`dsconv.process.prepare_process`).

    Returns:
      `parameters`, `losses` of the steps before those that are timed, `logits` of the first CHECKED images before any
      step, seconds of each call of `train` and `inference`, and `allocator`, 'tuned' or 'as installed'; or `missing`,
      a Python module.

    Raises:
      RunError: it fails.
    """
    line = [sys.executable, '-m', __spec__.name, module, json.dumps(settings)]
    done = subprocess.run(
        line, cwd=ROOT, env=environment, capture_output=True, text=True, errors='replace', stdin=subprocess.DEVNULL
    )
    if done.returncode or not done.stdout:
        raise failure(module, done.stderr, done.returncode)
    return json.loads(done.stdout)


def measure_here(network: dict, steps: int) -> dict:
    """Times `steps` calls of `train`, then of `inference`, of what `prepare` returned."""
    logits = network['inference']()[:CHECKED]
    losses = [network['train']() for _ in range(WARM_UP)]
    train = seconds_of_calls(network['train'], steps)
    network['inference']()
    return {
        'parameters': network['parameters'],
        'losses': losses,
        'logits': [[float(value) if math.isfinite(value) else None for value in row] for row in logits],
        'train': train,
        'inference': seconds_of_calls(network['inference'], steps),
        'allocator': 'tuned' if ALLOCATOR.items() <= os.environ.items() else 'as installed',
    }


def main(module: str, settings: dict) -> None:
    """The process."""
    replies = take_stdout()
    try:
        network = importlib.import_module(module).prepare(settings)
    except ImportError as error:
        facts = {'missing': error.name or module}
    else:
        facts = measure_here(network, settings['steps'])
    print(json.dumps(facts), file=replies)


if __name__ == '__main__':
    told = json.loads(sys.argv[2])
    if told['as_command']:
        prepare_process()  # may not come back
    main(sys.argv[1], told)
