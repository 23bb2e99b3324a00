"""Starts processes of `python -m dsconv.main` with the tiny network on digits, and reads the files they write."""

import json
import os
import subprocess
import sys
import time

from dsconv import config as configuration
from tests.commands import DIGITS

STEPS_PER_EPOCH = 1257 // 64


def command(workdir, *arguments):
    """Returns the command line of a run of three epochs."""
    return [sys.executable, '-m', 'dsconv.main', *DIGITS, f'--workdir={workdir}', *arguments]


def several(count, workdir, *arguments):
    """Returns the command line of the same run with `count` processes."""
    return [sys.executable, 'launch/processes.py', str(count), *command(workdir, *arguments)[3:]]


def start(line, **options):
    """Starts a process with one CPU device; stdout and stderr are pipes by default."""
    one_device = os.environ | {'XLA_FLAGS': '--xla_force_host_platform_device_count=1', 'JAX_PLATFORMS': 'cpu'}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(line, env=one_device, cwd=configuration.ROOT, **pipes | options)


def finish(process, code=0):
    """Waits until the process exits, with the exit code `code`; returns its stderr."""
    _, errors = process.communicate(timeout=600)
    assert process.returncode == code, errors
    return errors


def wait_for(condition, process=None):
    """Waits up to ten minutes until `condition()`; fails if the process, if given, exits before."""
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end and (process is None or process.poll() is None)
        time.sleep(0.02)


def log(workdir):
    """Returns the content of metrics.jsonl, empty if the file is missing."""
    file = workdir / 'metrics.jsonl'
    return file.read_bytes() if file.exists() else b''


def metrics(workdir):
    """Returns the lines of metrics.jsonl without the timings; every line must be complete."""
    lines = [json.loads(line) for line in log(workdir).splitlines()]
    return [{k: v for k, v in line.items() if k not in ('images_per_second', 'input_wait_fraction')} for line in lines]


def steps(workdir):
    """Returns the steps of the checkpoints, in order."""
    names = [path.name for path in (workdir / 'checkpoints').glob('*')]
    return sorted(int(name) for name in names if name.isdecimal())


def last_state(workdir):
    """Returns the step of the newest checkpoint and the checksum of each of its leaves."""
    newest = steps(workdir)[-1]
    return newest, json.loads((workdir / 'checkpoints' / str(newest) / 'checksums' / 'metadata').read_text())
