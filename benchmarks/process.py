"""Measures each library in a separate process: PyTorch crashes if TensorFlow is loaded in the same process.

    python -m benchmarks.process MODULE SETTINGS

The module's `prepare(settings)` returns a dict of functions without arguments, which return when their work is done,
and of facts, which are JSON values. The process prints the facts on stdout as one JSON object, or `{"missing": …}` with
the Python module that cannot be imported. For each line on stdin, the arguments of `answer`, it prints the result.
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import timeit

from dsconv.config import ROOT
from dsconv.errors import RunError
from dsconv.performance.timing import seconds_per_call
from dsconv.process import ALLOCATOR, prepare_process


class Process(contextlib.ExitStack):
    """A started process and a context manager that ends it. `missing` is a module that it cannot import, or None."""

    def __init__(self, module: str, settings: dict, environment: dict):
        """Starts `module` and waits until it is ready; raises RunError if it fails.

        In addition to the keys that `prepare` reads, `settings` may hold `core`, to which the process is pinned, and
        `as_command`: whether the process first restarts itself with the tuned allocator, as the commands do.
        """
        super().__init__()
        self._module, line = module, [sys.executable, '-m', __spec__.name, module, json.dumps(settings)]
        self._errors = self.enter_context(tempfile.TemporaryFile('w+', errors='replace'))  # noqa: SIM115
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        self._process = subprocess.Popen(line, **pipes, text=True, cwd=ROOT, env=environment)
        self.callback(self._process.communicate)
        self.callback(self._process.kill)  # called before `communicate`
        try:
            self.facts = self._reply()
        except BaseException:  # a failure, or Ctrl-C while it prepares
            self.close()
            raise
        self.missing = self.facts.get('missing')

    def call(self, function: str, calls: int = 1, seconds: float | None = None) -> dict:
        """Calls one of the module's functions; see `answer`. Raises RunError if the process has died."""
        with contextlib.suppress(BrokenPipeError):  # then there is no reply either
            print(json.dumps([function, calls, seconds]), file=self._process.stdin, flush=True)
        return self._reply()

    def _reply(self):
        if line := self._process.stdout.readline():
            return json.loads(line)
        code = self._process.wait()
        self._errors.seek(0)
        last = next((line for line in reversed(self._errors.readlines()) if line.strip()), f'exit code {code}')
        raise RunError(f'{self._module} failed: {last.strip()}')


def answer(function, calls: int, seconds: float | None) -> dict:
    """Times `function`: returns `seconds` of each of `calls` calls, and `values`, the last result, an array as a list.

    If `seconds` is given, returns only the mean `seconds` of a call over that much CPU time of this process.
    """
    if seconds is not None:
        return {'seconds': seconds_per_call(function, seconds, time.process_time)}
    values = []
    taken = timeit.repeat(lambda: values.append(function()), number=1, repeat=calls)
    return {'seconds': taken, 'values': values[-1].tolist() if hasattr(values[-1], 'tolist') else values[-1]}


def last_core() -> int | None:
    """Returns the highest core that this process may use, or None if the system cannot pin a process to a core."""
    return max(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else None


def random_batch(task: dict):
    """Returns random uint8 images `(batch_size, *image_shape)` and int32 labels `(batch_size,)` below `classes`."""
    import numpy as np

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (task['batch_size'], *task['image_shape']), np.uint8)
    return images, random.integers(0, task['classes'], task['batch_size'], np.int32)


def main(module: str, settings: dict) -> None:
    if settings.get('as_command'):
        prepare_process()  # may restart the process
    if settings.get('core') is not None:
        os.sched_setaffinity(0, {settings['core']})  # before any library counts the cores
    replies = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)  # what a library prints goes to stderr

    def reply(facts):
        print(json.dumps(facts), file=replies)

    try:
        prepared = importlib.import_module(module).prepare(settings)
    except ImportError as error:
        reply({'missing': error.name or module})
        return
    functions = {name: value for name, value in prepared.items() if callable(value)}
    tuned = ALLOCATOR.items() <= os.environ.items()
    facts = {name: value for name, value in prepared.items() if name not in functions}
    reply(facts | {'allocator': 'tuned' if tuned else 'as installed'})
    for line in sys.stdin:
        function, *how = json.loads(line)
        reply(answer(functions[function], *how))


if __name__ == '__main__':
    main(sys.argv[1], json.loads(sys.argv[2]))
