"""Configurations: loaded from a Python file, overridden, checked, kept beside a run and read back.

`configs/common.py` is the schema: its keys, types and defaults. Whatever a person writes, in a file of their own, on
the command line or in an old workdir's `config.json`, is laid over it key by key.
"""

import ast
import difflib
import json
import runpy
import sys
from pathlib import Path

from ml_collections import ConfigDict

from dsconv.config_checks import check, get
from dsconv.errors import InputError, did_you_mean
from dsconv.files import replace_file

ROOT = Path(__file__).resolve().parent.parent


def defaults() -> ConfigDict:
    """The locked defaults of `configs/common.py`."""
    if str(ROOT) not in sys.path:  # config files import their neighbours as `configs.…` from whatever directory
        sys.path.insert(0, str(ROOT))
    from configs import common

    return common.get_config().lock()


def load(path: str, overrides: list[str] = ()) -> ConfigDict:
    """Loads a config file, applies overrides and checks every value that can be checked without the data.

    Args:
      path: a Python file that defines `get_config()`; looked for from the current directory, then from the project's.
      overrides: `'key=value'` strings, as `'model.dim=64'`.

    Returns:
      The locked config, with all keys of `configs/common.py`.

    Raises:
      InputError: naming the key, the value and the nearest valid name.
    """
    file = next((file for file in (Path(path).expanduser(), ROOT / path) if file.is_file()), None)
    if file is None:
        shipped = [f'configs/{name.name}' for name in sorted((ROOT / 'configs').glob('[!_]*.py'))]
        hint = difflib.get_close_matches(path, shipped, n=1) or shipped
        raise InputError(
            f'--config={path}: no such file; there are {", ".join(shipped)}'
            if hint == shipped
            else f'--config={path}: no such file; did you mean {hint[0]}?'
        )
    config = defaults()
    try:
        written = runpy.run_path(str(file))['get_config']()
        values = flatten(written)
    except Exception as error:  # whatever a person's own Python file does wrong is their input
        raise InputError(f'--config={path} cannot be loaded: {type(error).__name__}: {_one_line(error)}') from error
    for key, value in values.items():
        _set(config, key, value, str(path))
    for override in overrides:
        key, separator, text = override.partition('=')
        if not separator:
            raise InputError(f'--config.{key} needs a value: --config.{key}=VALUE')
        _set(config, key, _parse(config, key, text), '--config')
    check(config)
    return config


def flatten(config) -> dict:
    """The config as `{'model.dim': 128, …}`."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, (ConfigDict, dict)):
            flat |= {f'{key}.{inner}': leaf for inner, leaf in flatten(value).items()}
        else:
            flat[key] = value
    return flat


def save_run(workdir: Path, config: ConfigDict, facts: dict) -> None:
    """Writes `workdir/config.json`: the resolved config, and `facts` about the run (versions, devices, …)."""
    workdir.mkdir(parents=True, exist_ok=True)
    text = json.dumps({'config': config.to_dict(), **facts}, indent=2, ensure_ascii=False) + '\n'
    replace_file(workdir / 'config.json', text.encode())


def load_run(workdir: Path) -> ConfigDict:
    """The config of an old workdir, over today's defaults.

    Raises:
      InputError: there is no readable run.
    """
    file = Path(workdir) / 'config.json'
    if not file.is_file():
        raise InputError(f'{workdir} is not the workdir of a run: it has no config.json')
    try:
        values = flatten(json.loads(file.read_text())['config'])
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f'{file} is damaged ({_one_line(error)}); restore it from a copy') from error
    config = defaults()
    for key, value in values.items():
        _set(config, key, value, str(file))
    check(config)
    return config


def differences(old: ConfigDict, new: ConfigDict) -> list[str]:
    """Lines `'model.dim: 128 → 64'` for each key in which two configs differ."""
    old, new = flatten(old), flatten(new)
    return [f'{key}: {old[key]} → {new[key]}' for key in new if old[key] != new[key]]


def _set(config, key, value, where):
    known = flatten(config)
    if key not in known:
        if any(name.startswith(f'{key}.') for name in known):
            raise InputError(f'{where}: {key} is a group of keys; set one of its keys, as {key}.KEY=VALUE')
        raise InputError(f'{where}: there is no key {key}{did_you_mean(key, known)}')
    *groups, leaf = key.split('.')
    for group in groups:
        config = config[group]
    expected = config.get_type(leaf)
    if value is None and flatten(defaults())[key] is None:
        config[leaf] = None
        return
    if expected is float and type(value) is int:
        value = float(value)
    if expected is tuple and isinstance(value, list):
        value = tuple(value)
    if type(value) is not expected:
        raise InputError(f'{where}: {key}={value!r} must be {_type_text(expected)}')
    config[leaf] = value


def _parse(config, key, text):
    """The value that a person typed, as the key's own type where it can be read as that, otherwise as text."""
    if key not in flatten(config):
        return text
    if text.lower() == 'none' and flatten(defaults())[key] is None:
        return None
    *groups, leaf = key.split('.')
    expected = (get(config, '.'.join(groups)) if groups else config).get_type(leaf)
    if expected is bool:
        return {'true': True, 'false': False}.get(text.lower(), text)
    if expected is tuple:
        return tuple(_literal(part.strip()) for part in text.strip('()[]').split(',') if part.strip())
    if expected is str:
        return text
    return _literal(text)


def _literal(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _type_text(expected):
    return {
        int: 'a whole number',
        float: 'a number',
        bool: 'true or false',
        str: 'text',
        tuple: 'a list of values, as 1,2',
    }[expected]


def _one_line(error):
    return ' '.join(str(error).split())
