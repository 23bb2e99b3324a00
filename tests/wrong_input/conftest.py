"""A command that must refuse."""

import gc
import sys

import pytest

from dsconv import cli
from tests.wrong_input.making import contents


@pytest.fixture
def refuse(tmp_path, monkeypatch, capsys):
    """Runs a command that must refuse in a line with all of `words`, and leave `tmp_path` alone; returns its stdout."""
    monkeypatch.chdir(tmp_path)

    def run(module, line, *words):
        name, before = module.__name__.rpartition('.')[2], contents(tmp_path)
        sys.stderr.reconfigure(errors='backslashreplace')  # as it is outside of tests
        with pytest.raises(SystemExit) as end:
            cli.run(module.flags(), getattr(module, name), arguments=list(map(str, line)))
        output, errors = capsys.readouterr()
        gc.collect()  # Orbax leaves behind what would tell of a damaged checkpoint in another test
        capsys.readouterr()
        assert errors.startswith(f'python -m dsconv.{name}: error: '), errors
        assert errors.count('\n') == 1, errors
        assert end.value.code == 2
        assert [word for word in words if word not in errors] == [], errors
        assert contents(tmp_path) == before
        return output

    return run
