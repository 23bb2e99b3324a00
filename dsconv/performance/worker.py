"""A process of its own, held to one core, for each thing that is measured against others.

    python -m dsconv.performance.worker MODULE SETTINGS

The module's `prepare(settings)` returns a function of no arguments that handles one batch of `settings['batch_size']`
images and returns when it is done. It is called twice, for what compiles at first; then an empty JSON object on stdout
says that the process is ready, or `{"missing": …}` what cannot be imported. Each line on stdin, a number of seconds,
is answered by `{"images_per_second": …}` of batches for so long. A second is one of the core's time for this process,
so that other processes on it do not count.
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time

from dsconv.config import ROOT
from dsconv.errors import RunError
from dsconv.performance.timing import seconds_per_call

# One thread on the CPU, whatever the library.
ENVIRONMENT = {
    'JAX_PLATFORMS': 'cpu',
    'CUDA_VISIBLE_DEVICES': '',
    'OMP_NUM_THREADS': '1',
    'OPENBLAS_NUM_THREADS': '1',
    'TF_NUM_INTRAOP_THREADS': '1',
    'TF_NUM_INTEROP_THREADS': '1',
}


class Worker:
    """The other end: a started process. A context that ends it.

    Attributes:
      missing: the Python module for want of which it cannot measure, or None.
    """

    def __init__(self, module: str, settings: dict):
        """Starts `module` and waits until it is ready; raises RunError when it fails."""
        self._module = module
        self._errors = tempfile.TemporaryFile('w+', errors='replace')  # noqa: SIM115 (closed by close)
        self._process = subprocess.Popen(
            [sys.executable, '-m', __spec__.name, module, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=os.environ | ENVIRONMENT,
        )
        try:
            self.missing = self._reply().get('missing')
        except BaseException:  # a failure, or Ctrl-C while it prepares
            self.close()
            raise

    def images_per_second(self, seconds: float) -> float:
        """Measures for about `seconds`; raises RunError when the process has died."""
        with contextlib.suppress(BrokenPipeError):  # then there is no reply either
            print(seconds, file=self._process.stdin, flush=True)
        return self._reply()['images_per_second']

    def close(self):
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _reply(self):
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            raise failure(self._module, self._errors.read(), self._process.returncode)
        return json.loads(line)


def failure(module: str, said: str, code: int) -> RunError:
    """Of a process of `module` that has ended with `code`: the last line that it `said` on stderr."""
    last = next((line for line in reversed(said.split('\n')) if line.strip()), f'exit code {code}')
    return RunError(f'{module} failed: {last.strip()}')


def last_core() -> int | None:
    """The highest of the cores that this process may use, None where a process cannot be held to one."""
    return max(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else None


def pictures(settings: dict):
    """A batch that stands for any other: random uint8 `(batch, height, width, channels)`, int32 labels `(batch,)`."""
    import numpy as np

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (settings['batch_size'], *settings['image_shape']), np.uint8)
    return images, random.integers(0, settings['classes'], settings['batch_size'], np.int32)


def take_stdout():
    """The process's stdout, for replies alone: what a library prints goes to stderr from now on."""
    replies = os.fdopen(os.dup(1), 'w', buffering=1)
    os.dup2(2, 1)
    return replies


def main(module: str, settings: dict) -> None:
    """The process."""
    if settings['core'] is not None:
        os.sched_setaffinity(0, {settings['core']})  # before any library counts the cores
    replies = take_stdout()

    def reply(**facts):
        print(json.dumps(facts), file=replies)

    try:
        run = importlib.import_module(module).prepare(settings)
    except ImportError as error:
        reply(missing=error.name or module)
        return
    run()
    run()
    reply()
    for line in sys.stdin:
        seconds = seconds_per_call(run, float(line), time.process_time)
        reply(images_per_second=settings['batch_size'] / seconds)


if __name__ == '__main__':
    main(sys.argv[1], json.loads(sys.argv[2]))
