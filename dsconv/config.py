"""Configurations: loads them from a Python file, overrides and checks them, saves them with a run, reads them back.

`configs/common.py` is the schema: a config file, or the `config.json` of a run, overrides its values key by key.
"""

import functools
import json
import os
import re
import runpy
from pathlib import Path

from ml_collections import ConfigDict

from dsconv.config_auto import say_once
from dsconv.config_checks import check, check_is_taken, check_values, unread
from dsconv.config_file import ROOT, find_file, run_file, split_argument
from dsconv.config_keys import flatten, no_such_key, read_keys
from dsconv.errors import InputError, beginning_with, shown
from dsconv.files import describe, is_directory, is_file, is_remote, make_directory, name_beside, to_path, write_json

TABLE = re.compile(r'(.+?)\.(?:csv|tsv)(?:\.gz)?', re.IGNORECASE)
NAMELESS = ('train', 'training', 'labels', 'data', 'table')  # tables that are named after their directory


def defaults() -> ConfigDict:
    """Returns the locked defaults of `configs/common.py`."""
    return _schema()().lock()


@functools.cache
def _schema():
    return runpy.run_path(str(ROOT / 'configs' / 'common.py'))['get_config']


def load(path: str, overrides: list[str] = (), workdir: Path | None = None) -> ConfigDict:
    """Loads a config file, applies overrides and checks every value that can be checked without the data.

    A warm-up longer than a third of the run is cut to a third, unless `overrides` set it. The warm-up of a config.json
    is cut only if `overrides` set `epochs`. Unset channels and pixel statistics, and a patch size in `dataset.auto`,
    are taken from the network of `init_from`.

    Args:
      path: a Python file that defines `get_config()`, followed by `:ARG` if that takes an argument; or the config.json
        of a run, to repeat the run. It is looked up in the current directory, then in the project's directory.
      overrides: `'key=value'` strings, such as `'model.dim=64'`.
      workdir: the workdir to train in. A run begun there keeps its warm-up and the values chosen from its data.

    Returns the locked config. Raises InputError naming the key, the value and the nearest valid name.
    """
    config = defaults()
    _lay_over(config, _read_run(find_file(path)) if is_run(path) else run_file(path), f'{path}: ')
    typed = override(config, overrides)
    if is_run(path):
        leave_out_unread(config, typed)
    try:
        run = load_run(workdir) if workdir and has_begun(workdir) else None
    except InputError:  # a damaged run is reported when it is resumed
        run = None
    auto = tuple(key for key in config.dataset.auto or () if key not in typed)
    if 'schedule.warmup_epochs' in auto:
        config.schedule.warmup_epochs = 0.0  # no warm-up until it is chosen, so that all checks pass
    if run:  # values that would be chosen from the data are those of the run
        began = flatten(run)
        _lay_over(config, {key: began[key] for key in auto if key in began}, f'{workdir}: ')
    config.dataset.auto = None if run else auto or None
    check_values(config)  # before other values are computed from them
    is_set = 'schedule.warmup_epochs' in (*auto, *typed)
    is_repeated = is_run(path) and 'epochs' not in typed
    messages = [None if is_set or is_repeated else _fit_warmup(config, workdir, run), _fit_images(config, run)]
    check_is_taken(config, typed)
    check(config)
    for message in filter(None, messages):
        say_once(message)
    return config


def override(config: ConfigDict, overrides: list[str]) -> dict[str, str]:
    """Applies `'key=value'` overrides of the command line; returns key → text. Raises InputError for invalid ones."""
    if bare := [override for override in overrides if '=' not in override]:
        raise InputError(f'--config.{bare[0]} needs a value: --config.{bare[0]}=VALUE')
    typed = dict(override.split('=', 1) for override in overrides)
    _lay_over(config, typed, '--config.', typed=True)
    return typed


def _fit_warmup(config, workdir, run):
    """Cuts the warm-up to a third of the run, or keeps that of `run`; returns the message to log, or None."""
    written, third = config.schedule.warmup_epochs, config.epochs / 3
    if run:
        config.schedule.warmup_epochs = began = run.schedule.warmup_epochs
        kept = f'schedule.warmup_epochs={began:.3g} is kept: the run in {workdir} was started with it'
        return None if began == written else kept
    if written <= third:
        return None
    config.schedule.warmup_epochs = third
    return f'schedule.warmup_epochs={shown(written)} is cut to {third:.3g}, a third of epochs={config.epochs}'


def _fit_images(config, run):
    """With `init_from`, takes unset channels, pixel statistics and a patch size in `dataset.auto` from that network."""
    unset = [f'dataset.{name}' for name in ('channels', 'mean', 'std') if config.dataset[name] is None]
    auto = config.dataset.auto or ()
    unset += [key for key in auto if key == 'model.patch_size']
    if not config.init_from or not unset:
        return None
    with beginning_with(f'init_from={config.init_from}: '):
        trained = run or load_run(find_workdir(config.init_from))
    if not run and config.dataset.channels not in (None, trained.dataset.channels):
        takes = f'init_from={config.init_from} takes {trained.dataset.channels}'
        raise InputError(f'dataset.channels={config.dataset.channels}, but {takes}: leave dataset.channels unset')
    _lay_over(config, {key: trained[key] for key in unset}, f'{config.init_from}: ')
    config.dataset.auto = tuple(key for key in auto if key not in unset) or None
    return None if run else f'{", ".join(unset)}: taken from init_from={config.init_from}'


def save_run(workdir: Path, config: ConfigDict, facts: dict) -> None:
    """Writes `workdir/config.json`: the resolved config, and `facts` about the run (versions, devices, …)."""
    make_directory(workdir)
    write_json(workdir / 'config.json', {'config': config.to_dict(), **facts})


def has_begun(workdir: Path) -> bool:
    """Returns whether a workdir holds a checkpoint or a report, which another run must not replace."""
    return has_checkpoints(workdir) or is_directory(to_path(workdir) / 'report')


def has_checkpoints(workdir: Path) -> bool:
    """Returns whether a workdir holds a checkpoint."""
    checkpoints = to_path(workdir) / 'checkpoints'
    return is_directory(checkpoints) and any(map(is_saved, checkpoints.glob('[0-9]*')))


def is_saved(path: Path) -> bool:
    """Returns whether a path is a complete checkpoint. In an object store, Orbax writes commit_success.txt last."""
    return path.name.isdecimal() and (not is_remote(path) or (path / 'commit_success.txt').exists())


def load_run(workdir: Path) -> ConfigDict:
    """Returns the config of the run in `workdir`, with defaults for newer keys; raises InputError if unreadable."""
    file = to_path(workdir) / 'config.json'
    if not is_file(file):
        if is_file(to_path(workdir) / 'study.json'):
            raise InputError(f'{workdir} is the directory of a study: its runs are {workdir}/cells/*/seed-*')
        if not is_directory(to_path(workdir)):
            near = name_beside(to_path(workdir), lambda each: is_file(each / 'config.json'))
            raise InputError(f'{workdir} is not a directory: give the workdir of a run{near}')
        raise InputError(f'{workdir} is not the workdir of a run: it has no config.json')
    config = defaults()
    written = _read_run(file)
    _lay_over(config, written, f'{file}: ')
    if config.dataset.archive and 'dataset.train_fingerprint' not in written:
        config.dataset.train_fingerprint = 'of an earlier version, which read the archive in another order'
    leave_out_unread(config)
    check(config)
    return config


def leave_out_unread(config, typed=()):
    """Unsets the keys of `dataset`, except `typed` ones, that have no effect, e.g. on data from an archive."""
    config.dataset.update({key: None for key in unread(config.dataset) if f'dataset.{key}' not in typed})


def _read_run(file) -> dict:
    try:
        written = json.loads(to_path(file).read_text(encoding='utf-8'))
        dict(written.get('versions') or {})  # `versions` is read later
        return flatten(written['config'])
    except Exception as error:  # damage raises many types of error
        raise InputError(
            f'{file} is damaged ({describe(error)}); restore it from a copy, or, as --config, give the config.json of '
            f'a run'
        ) from error


def differences(old: ConfigDict, new: ConfigDict) -> list[str]:
    """Returns a line `'model.dim: 128 → 64'` for each key in which two configs differ."""
    old, new = flatten(old), flatten(new)
    return [f'{key}: {shown(old[key])} → {shown(new[key])}' for key in new if old[key] != new[key]]


def _lay_over(config, values, where, typed=False):
    """Sets `values` by dotted key, parsed first if `typed`. `where` is the prefix of error messages."""
    keys = read_keys(defaults())
    for name, value in values.items():
        if name not in keys:
            raise InputError(f'{where}{name}={shown(value)}: {no_such_key(name, keys)}')
        try:
            value = keys[name].convert(keys[name].parse(value) if typed else value)
        except (TypeError, ValueError, OverflowError) as error:
            said = shown(repr(value) if isinstance(value, str) and not typed else value)  # quotes mark a number as text
            raise InputError(f'{where}{name}={said} must be {keys[name].description}') from error
        config.update_from_flattened_dict({name: value})


def is_run(path: str) -> bool:
    """Returns whether `--config` names the config.json of a run, and not a Python file."""
    return split_argument(path)[0].endswith('.json')


def name_of(path: str) -> str:
    """Returns the name of a config file: `'small'`, or `'pictures-ants'` for `configs/pictures.py:/data/ants`.

    The name is the same for `…:/data/ants.csv`, and for `…:/data/ants/train.csv`, since `train` is in `NAMELESS`.
    """
    file, argument = split_argument(path)
    names = [Path(file).stem]
    for text in argument:
        given = Path(text if is_remote(text) else os.path.abspath(os.path.expanduser(text)))
        table = TABLE.fullmatch(given.name)
        name = table[1] if table else given.name
        names.append(given.parent.name if table and name.lower() in NAMELESS else name)
    return '-'.join(names).rstrip('-')


def find_workdir(path: str | Path) -> Path:
    """Returns the workdir of a run, looked up in the current directory, then (`pretrained/small`) in the project's."""
    found = to_path(path)
    is_here = (found / 'config.json').exists() or not (ROOT / path / 'config.json').exists()
    return found if is_here else ROOT / path
