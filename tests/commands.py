"""Commands in this process, and the flags of the tiny run on digits."""

from dsconv import cli
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
