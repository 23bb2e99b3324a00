"""Configurations: loaded from a Python file, overridden, checked, kept beside a run and read back.

`configs/common.py` is the schema: its keys, types and defaults. Whatever a person writes, in a file of their own, on
the command line or in an old workdir's `config.json`, is laid over it key by key.
"""

import json
import re
import runpy
import sys
import traceback
from pathlib import Path

from ml_collections import ConfigDict

from dsconv.config_checks import check, get
from dsconv.config_keys import no_such_key, read_keys
from dsconv.errors import InputError, nearest, shown
from dsconv.files import is_file, make_directory, replace_file, to_path

ROOT = Path(__file__).resolve().parent.parent


def defaults() -> ConfigDict:
    """The locked defaults of `configs/common.py`."""
    if sys.path[:1] != [str(ROOT)]:  # first, since the directory that one stands in may hold a package `configs` too
        sys.path.insert(0, str(ROOT))
    from configs import common

    return common.get_config().lock()


def load(path: str, overrides: list[str] = ()) -> ConfigDict:
    """Loads a config file, applies overrides and checks every value that can be checked without the data.

    Args:
      path: a Python file that defines `get_config()`, or the config.json of a run, to make it again; looked for from
        the current directory, then from the project's.
      overrides: `'key=value'` strings, as `'model.dim=64'`.

    Returns:
      The locked config, with all keys of `configs/common.py`.

    Raises:
      InputError: naming the key, the value and the nearest valid name.
    """
    config = defaults()
    values = _read_run(find_file(path)) if path.endswith('.json') else _run_file(path)
    _lay_over(config, values, f'{path}: ')
    _lay_over(config, _split(overrides), '--config.', typed=True)
    check(config)
    return config


def flatten(config) -> dict:
    """The config as `{'model.dim': 128, …}`."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, (ConfigDict, dict)):
            flat |= {f'{key}.{inner}': leaf for inner, leaf in flatten(value).items()}
        else:
            flat[str(key)] = value
    return flat


def save_run(workdir: Path, config: ConfigDict, facts: dict) -> None:
    """Writes `workdir/config.json`: the resolved config, and `facts` about the run (versions, devices, …)."""
    make_directory(workdir)
    text = json.dumps({'config': config.to_dict(), **facts}, indent=2, ensure_ascii=False) + '\n'
    # A path may hold bytes that are not UTF-8; Python has them as lone surrogates, which JSON can only escape.
    replace_file(workdir / 'config.json', text.encode(errors='backslashreplace'))


def load_run(workdir: Path) -> ConfigDict:
    """The config of an old workdir, over today's defaults.

    Raises:
      InputError: there is no readable run.
    """
    file = to_path(workdir) / 'config.json'
    if not is_file(file):
        if is_file(to_path(workdir) / 'study.json'):
            raise InputError(f'{workdir} is the directory of a study: its runs are {workdir}/cells/*/seed-*')
        raise InputError(f'{workdir} is not the workdir of a run: it has no config.json')
    config = defaults()
    _lay_over(config, _read_run(file), f'{file}: ')
    check(config)
    return config


def _read_run(file) -> dict:
    try:
        return flatten(json.loads(to_path(file).read_text(encoding='utf-8'))['config'])
    except Exception as error:  # damage has many forms
        raise InputError(f'{file} is damaged ({type(error).__name__}: {error}); restore it from a copy') from error


def differences(old: ConfigDict, new: ConfigDict) -> list[str]:
    """Lines `'model.dim: 128 → 64'` for each key in which two configs differ."""
    old, new = flatten(old), flatten(new)
    return [f'{key}: {shown(old[key])} → {shown(new[key])}' for key in new if old[key] != new[key]]


def _split(overrides):
    for override in overrides:
        if '=' not in override:
            raise InputError(f'--config.{override} needs a value: --config.{override}=VALUE')
    return dict(override.split('=', 1) for override in overrides)


def _lay_over(config, values, where, typed=False):
    """Sets `values`, by dotted key, texts where `typed`. `where` begins the line of an error."""
    keys = read_keys(defaults())
    for name, value in values.items():
        if name not in keys:
            raise InputError(f'{where}{name}={shown(value)}: {no_such_key(name, keys)}')
        try:
            value = keys[name].convert(keys[name].parse(value) if typed else value)
        except (TypeError, OverflowError) as error:
            raise InputError(f'{where}{name}={shown(value)} must be {keys[name].description}') from error
        group, _, leaf = name.rpartition('.')
        (get(config, group) if group else config)[leaf] = value


def _run_file(path):
    """The keys that the `get_config()` of a person's file sets, by dotted name."""
    file = str(find_file(path))
    try:
        get_config = runpy.run_path(file).get('get_config')
        written = get_config() if callable(get_config) else None
        values = flatten(written) if isinstance(written, (ConfigDict, dict)) else None
    except (Exception, SystemExit) as error:  # whatever a person's own Python file does wrong is their input
        raise InputError(f'--config={path} cannot be loaded: {_fault(error, file)}') from error
    if values is None:
        raise InputError(f'--config={path} must define get_config(), which returns a ConfigDict, as configs/digits.py')
    return values


def find_file(path: str) -> Path:
    """The config file that `--config` names, from where one stands or, failing that, from the project's directory.

    Raises:
      InputError: there is none.
    """
    for file in (to_path(path), ROOT / path):
        if is_file(file):
            return file
    shipped = {file.stem: f'configs/{file.name}' for file in sorted((ROOT / 'configs').glob('[!_]*.py'))}
    meant = shipped.get(nearest(Path(path).stem, shipped))
    hint = f'did you mean {meant}?' if meant else f'there are {", ".join(shipped.values())}'
    raise InputError(f'--config={path}: there is no such file; {hint}')


def _fault(error, file):
    """What went wrong in a person's file, on which of its lines."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)  # str() of a KeyError is a repr
    first = re.split(r'\n| Other fields present', text)[0]  # ml_collections goes on with the whole config
    return f'{type(error).__name__}: {first}' + (f' (line {lines[-1]})' if lines else '')
