"""Helpers to run commands in this process and Python in another, and the flags of the tiny run on digits."""

import os
import subprocess
import sys

import numpy as np
import pytest

from dsconv import cli
from dsconv.config import ROOT
from dsconv.errors import InputError
from dsconv.reporting.scores import scores
from tests.conftest import TINY

DIGITS = ['--config=configs/digits.py', *(f'--config.{key}={value}' for key, value in TINY.items())]


def run(module, line, capsys=None):
    """Runs a command with the words of a line; returns its exit code, and with `capsys` its stdout and stderr too."""
    code = 0
    try:
        cli.run(module.flags(), getattr(module, module.__name__.rpartition('.')[2]), list(map(str, line)))
    except SystemExit as end:
        code = end.code
    return (code, *capsys.readouterr()) if capsys else code


def report_of(**facts) -> dict:
    """Returns the content of a report.json for two images."""
    found = scores(np.array([0, 1]), np.log(np.full((2, 2), 0.5)), ['a', 'b'])
    return {'dataset': 'digits', 'parameters': 1, 'command': '', 'calibration': None, **found, **facts}


def refusal(function, *arguments):
    """Returns the one-line message of the InputError that a function raises for invalid arguments."""
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def python(*words, cwd=ROOT, stdout=subprocess.PIPE, **environment):
    """Runs Python in a separate process; returns what `subprocess.run` returns."""
    line, environment = [sys.executable, *words], os.environ | {'PYTHONPATH': str(ROOT)} | environment
    pipes = dict(stdout=stdout, stderr=subprocess.PIPE, text=True)
    return subprocess.run(line, cwd=cwd, env=environment, **pipes, timeout=600)
