"""The keys of a config: their types, and the parsing and conversion of values."""

from typing import NamedTuple

from ml_collections import ConfigDict

from dsconv.config_checks import RANGES
from dsconv.errors import nearest

ONE = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'text, not empty, without NUL'}
SEVERAL = {int: 'whole numbers, e.g. 2,4', float: 'numbers, e.g. 0.5,0.4', str: 'texts, e.g. cat,dog'}


class Key(NamedTuple):
    """The type of a key. `kind`, the type of the value or of a tuple's elements, is bool, int, float or str."""

    kind: type
    is_tuple: bool
    nullable: bool

    @property
    def description(self) -> str:
        """The valid values, for error messages."""
        return (SEVERAL if self.is_tuple else ONE)[self.kind] + (', or none' if self.nullable else '')

    def parse(self, text: str):
        """Parses a value from the command line; raises ValueError if it is invalid."""
        if self.nullable and text.lower() == 'none':
            return None
        if not self.is_tuple:
            return _parse(text, self.kind)
        inner = text[1:-1] if text[:1] + text[-1:] in ('()', '[]') else text
        return tuple(_parse(part.strip(' \'"'), self.kind) for part in inner.removesuffix(',').split(','))

    def convert(self, value):
        """Converts a value to this key's type, for example an int to a float. Raises TypeError or OverflowError."""
        if value is None and self.nullable:
            return None
        if self.is_tuple and isinstance(value, (tuple, list)) and value:
            return tuple(_convert(element, self.kind) for element in value)
        if self.is_tuple:
            raise TypeError
        return _convert(value, self.kind)


def read_keys(config: ConfigDict) -> dict[str, Key]:
    """Returns the keys of the defaults by dotted name. An unset tuple holds floats if it has a range, else strings."""
    keys = {}
    for name, value in flatten(config).items():
        section, _, last = name.rpartition('.')
        kind = (config[section] if section else config).get_type(last)
        element = type(value[0]) if value and kind is tuple else float if name in RANGES else str
        keys[name] = Key(element if kind is tuple else kind, kind is tuple, value is None)
    return keys


def no_such_key(name: str, keys: dict[str, Key]) -> str:
    """Returns the message for an unknown key, with the key of the nearest last part, else the nearest key, if any."""
    inside = [key for key in keys if key.startswith(f'{name}.')]
    if inside:
        return f'{name} is a group of keys; set one of them, e.g. {inside[0]}'
    if name.rpartition('.')[2] in ('learning_rate', 'lr'):  # the usual names
        return 'there is no such key; did you mean schedule.peak_value?'
    leaves = {key: key.rpartition('.')[2] for key in (name, *keys)}
    leaf = nearest(leaves[name], map(leaves.get, keys), cutoff=0.6)
    meant = nearest(name, [key for key in keys if leaves[key] == leaf], cutoff=0) or nearest(name, keys, cutoff=0.85)
    return 'there is no such key; ' + (f'did you mean {meant}?' if meant else 'configs/common.py lists them all')


def _parse(text, kind):
    return kind(text) if kind is not bool else bool(('false', 'true').index(text.lower()))


def _convert(value, kind):
    if type(value).__module__ == 'numpy' and not value.ndim:  # a NumPy number, computed by a config file
        value = value.item()
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or kind is str and (not value or '\0' in value):  # no path can contain NUL
        raise TypeError
    return value


def flatten(config, prefix: str = '') -> dict:
    """Returns a config as a flat dict, `{'model.dim': 128, …}`."""
    flat = {}
    for key, value in config.items():
        is_group = isinstance(value, (ConfigDict, dict))
        flat |= flatten(value, f'{prefix}{key}.') if is_group else {f'{prefix}{key}': value}
    return flat
