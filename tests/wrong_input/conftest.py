"""A command that must refuse."""

import gc
import sys

import pytest

from tests import commands
from tests.wrong_input.making import contents


@pytest.fixture
def refuse(tmp_path, monkeypatch, capsys):
    """Runs a command that must refuse in a line with all of `words`, and leave `tmp_path` alone; returns its stdout."""
    monkeypatch.chdir(tmp_path)

    def run(module, line, *words):
        before = contents(tmp_path)
        sys.stderr.reconfigure(errors='backslashreplace')  # as it is outside of tests
        code, output, errors = commands.run(module, line, capsys)
        gc.collect()  # Orbax leaves behind what would tell of a damaged checkpoint in another test
        capsys.readouterr()
        assert errors.startswith(f'python -m {module.__name__}: error: '), errors
        assert (code, errors.count('\n')) == (2, 1), errors
        assert [word for word in words if word not in errors] == [], errors
        assert contents(tmp_path) == before
        return output

    return run
