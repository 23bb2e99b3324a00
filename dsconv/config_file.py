"""Loads Python files that define `get_config()`: the user's files and those of the project."""

import contextlib
import re
import runpy
import sys
import traceback
from pathlib import Path

from ml_collections import ConfigDict

from dsconv.config_keys import flatten
from dsconv.errors import InputError, nearest
from dsconv.files import is_file, to_path

ROOT = Path(__file__).resolve().parent.parent  # the checkout, which has configs/ and pretrained/
if not (ROOT / 'configs' / 'common.py').exists():  # installed: setup.py copies both into shipped/
    ROOT = Path(__file__).resolve().parent / 'shipped'


def split_argument(path: str) -> tuple[str, list[str]]:
    """Splits `FILE.py:ARG` into the file and `[ARG]`, or `[]` without an argument."""
    file, colon, argument = path.partition('.py:')
    return (f'{file}.py', [argument]) if colon else (path, [])


def run_file(path: str) -> dict:
    """Returns the values that `get_config()` of a file sets, by dotted name; raises InputError if the file fails."""
    name, argument = split_argument(path)
    file = str(find_file(name))
    try:
        with _own_configs():
            get_config = runpy.run_path(file).get('get_config')
            written = get_config(*argument) if callable(get_config) else None
        values = flatten(written) if isinstance(written, (ConfigDict, dict)) else None
    except (Exception, SystemExit) as error:  # any error in the user's file is wrong input
        raise InputError(f'--config={path} cannot be loaded: {_fault(error, file)}') from error
    if values is None:
        raise InputError(
            f'--config={path} must define get_config(), which returns a ConfigDict, like configs/digits.py'
        )
    return values


@contextlib.contextmanager
def _own_configs():
    """Makes `from configs import …` import the project's package, even if the program has another `configs`."""

    def take():
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition('.')[0] == 'configs'}

    others = take()
    sys.path.insert(0, str(ROOT))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the file may have changed sys.path
            sys.path.remove(str(ROOT))
        take()
        sys.modules.update(others)


def find_file(path: str) -> Path:
    """Returns the config file that `--config` names, looked up in the current directory, then in the project's."""
    for file in (to_path(path), ROOT / path):
        if is_file(file):
            return file
    shipped = {file.stem: f'configs/{file.name}' for file in sorted((ROOT / 'configs').glob('[!_]*.py'))}
    meant = shipped.get(nearest(Path(path).stem, shipped))
    hint = f'did you mean {meant}?' if meant else f'there are {", ".join(shipped.values())}'
    raise InputError(f'--config={path}: there is no such file; {hint}')


def _fault(error, file):
    """Returns a description of an error in the user's file, with the line number if known."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)  # str() of a KeyError is a repr
    first = re.split(r'\n| Other fields present', text)[0]  # ml_collections appends the whole config
    return f'{type(error).__name__}: {first}' + (f' (line {lines[-1]})' if lines else '')
