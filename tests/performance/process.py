"""Commands in processes of their own: the process of the tests has CPU devices already."""

import importlib.util
import os
import subprocess
import sys

from dsconv.config import ROOT

HAS_COMPILER = importlib.util.find_spec('libtpu') is not None


def run(command, *flags):
    """`python -m dsconv.<command>` with the flags; the finished process."""
    line = [sys.executable, '-m', f'dsconv.{command}', *flags]
    environment = {key: value for key, value in os.environ.items() if key != 'XLA_FLAGS'}
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
