"""Studies: the variants of a config, read from a TOML file."""

import logging
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

from dsconv.config import ROOT, flatten, load
from dsconv.config_checks import not_taken
from dsconv.errors import InputError, as_typed, did_you_mean
from dsconv.files import is_file, to_path

logger = logging.getLogger('dsconv')
BUILT_IN = ROOT / 'configs' / 'studies'
GIVEN_BY_THE_STUDY = {
    'seed': 'set it with --seeds',
    'dataset.fold': 'use --folds',
    'eval.final_split': 'a study is scored on the validation split; leave it out',
    'eval.patience': 'the runs of a study have equal lengths; leave it out',
}
# Other keys depend on these.
CHOOSING = ('model.name', 'model.implementation', 'optimizer.name', 'loss.name', 'loss.teachers')
SAFE_NAME = re.compile(r'\w[\w .,=+()-]{0,59}')  # a valid directory name on any system


class Study(NamedTuple):
    """Variants of a config: name → `'key=value'` overrides; the others are compared with the first.

    `title` is the title of the report, `where` the flag that error messages begin with.
    """

    name: str
    title: str
    variants: dict[str, tuple[str, ...]]
    where: str


def read_study(study: str) -> Study:
    """Reads a study: the name of one in `configs/studies`, or a TOML file; raises InputError if missing or malformed.

    The file has a `title` and, in order, a table for each variant, `[variants."5"]`, whose keys are those of a config;
    an empty table is the unchanged config.
    """
    file = _find(study)
    where = f'--study={study}'
    try:
        written = tomllib.loads(file.read_text(encoding='utf-8'))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f'{where}: {file} is not TOML: {error}') from error
    for key in set(written) - {'title', 'variants'}:
        raise InputError(f'{where}: there is no key {key}{did_you_mean(key, ("title", "variants"))}')
    title, variants = written.get('title'), written.get('variants')
    if not isinstance(title, str) or not title:
        raise InputError(f"{where} needs title = '…', the title of its report")
    if not isinstance(variants, dict) or not variants:
        raise InputError(f'{where} needs variants, each a table [variants."NAME"]')
    return Study(file.stem, title, {name: _overrides(where, name, keys) for name, keys in variants.items()}, where)


def of_models(models: str, known) -> Study:
    """Returns the study of the networks in `--models`; raises InputError unless these are two or more of `known`."""
    names = models.split(',')
    for name in names:
        if name not in known:
            raise InputError(f'--models: {name!r} is not one of {", ".join(known)}{did_you_mean(name, known)}')
        if names.count(name) > 1:
            raise InputError(f'--models={models} names {name} twice')
    if len(names) < 2:
        raise InputError(f'--models={models} is only one network: name two or more of {", ".join(known)}')
    variants = {name: (f'model.name={name}',) for name in names}
    return Study('compare', 'Networks by the same recipe', variants, '--models')


def taken(path: str, overrides: list[str], own: tuple[str, ...]) -> list[str]:
    """Returns the `overrides` that have an effect with `own`; raises InputError for an invalid `CHOOSING` value."""
    config = load(path, [one for one in (*overrides, *own) if one.partition('=')[0] in CHOOSING])
    aside = not_taken(config, [one.partition('=')[0] for one in overrides])
    return [one for one in overrides if one.partition('=')[0] not in aside]


def overrides_by_variant(study: Study, path: str, overrides: list[str]) -> dict[str, list[str]]:
    """Returns for each variant the `overrides` that it takes; raises InputError for one that no variant takes."""
    by_variant = {}
    for name, own in study.variants.items():
        try:
            by_variant[name] = taken(path, overrides, own)
        except InputError:  # raised again when the whole variant is loaded
            by_variant[name] = list(overrides)
            continue
        if aside := [one for one in overrides if one not in by_variant[name]]:
            logger.info('variant %s: ignored: %s, which it does not take', name, ', '.join(aside))
    for one in overrides:
        if not any(one in chosen for chosen in by_variant.values()):
            raise InputError(f'--config.{one} has no effect: no variant of {study.where} takes it; leave it out')
    return by_variant


def _find(study):
    if study.endswith('.toml'):
        for file in (to_path(study), ROOT / study):
            if is_file(file):
                return file
    shipped = {file.stem: file for file in sorted(BUILT_IN.glob('*.toml'))}
    if study in shipped:
        return shipped[study]
    hint = did_you_mean(Path(study).stem, shipped) or f'; there are {", ".join(shipped)}'
    raise InputError(f'--study={study}: there is no such study or file{hint}')


def _overrides(where, name, keys):
    if not SAFE_NAME.fullmatch(name) or name.endswith(('.', ' ')):
        form = 'use up to 60 letters, digits, spaces and . , = + - ( ), beginning with a letter or digit'
        raise InputError(f'{where}: the variant {name!r} cannot be a directory: {form}')
    if not isinstance(keys, dict):
        raise InputError(f'{where}: the variant {name} must be a table, [variants."{name}"]')
    values = flatten(keys)
    for key in values.keys() & GIVEN_BY_THE_STUDY.keys():
        raise InputError(f'{where}, variant {name}: {key} cannot be varied: {GIVEN_BY_THE_STUDY[key]}')
    return tuple(f'{key}={as_typed(value)}' for key, value in values.items())
