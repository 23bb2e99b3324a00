"""Finds labelled pictures in a table: a CSV file with a column of paths and a column of labels."""

import csv
import gzip
import io
import itertools
import os
import pathlib
import unicodedata
import zlib

import numpy as np

from dsconv.data.listing import (
    NAME_SPLITS,
    Listing,
    alike,
    check_split_names,
    least_classes,
    replaces_validation,
    split_names,
    unknown_class,
)
from dsconv.data.picture import EXTENSIONS
from dsconv.errors import InputError
from dsconv.files import is_directory, is_file, is_remote, name_beside, to_path

# Config key of a column → its usual names, in lower case and with underscores; the key may set another name.
USUAL = {
    'image_key': 'path file_path filepath file file_name filename image_path image_file image_name image img image_id '
    'id_code id',
    'label_key': 'label labels class class_name classname category target diagnosis species breed',
    'split_key': 'split subset partition set',
    'group_key': 'group group_id patient patient_id subject subject_id scene scene_id',
}

NO_COLUMN = '-'  # as `split_key` or `group_key`: the table has no such column, whatever its columns are called


def list_table(path: pathlib.Path, dataset, whole: bool = False) -> Listing:
    """Lists the pictures of a table: one row per picture; commas, semicolons or tabs; UTF-8; gzipped or not.

    `dataset.{image,label,split,group}_key` name columns; the other columns are found by their usual names (`USUAL`).
    If no column of labels is found and one column is left, it holds the labels. Paths are relative to `dataset.root`,
    or else to the table's directory; a missing extension is searched for. Rows without a label are ignored. The classes
    are the labels, sorted, as numbers if all are numbers. With `whole`, splits and groups are ignored, and one
    class is enough. Validation rows are ignored if `dataset.fold` or `dataset.validation_fraction` replaces them.

    Raises: InputError when there is no such table, column or split, a file is listed twice with different values, a
      group is in two splits, the training split lacks a class, or there are too few classes.
    """
    root = to_path(dataset.root or path.parent)
    header, rows = _read(path)
    columns = _columns(path, header, dataset)
    if whole:
        columns = {key: columns[key] for key in columns if key not in ('split_key', 'group_key')}
    cells, unlabelled = [], 0
    for line, row in rows:
        if any(map(str.strip, row[len(header) :])):
            remedy = 'put a text that contains the separator in quotation marks'
            raise InputError(f'{path}, line {line}: has {len(row)} cells, but the header has {len(header)}: {remedy}')
        values = {key: row[column].strip() if column < len(row) else '' for key, column in columns.items()}
        if not values['label_key']:
            unlabelled += 1
            continue
        if not values['image_key']:
            raise InputError(f'{path}, line {line}: has no path')
        facts = {key: unicodedata.normalize('NFC', value) for key, value in values.items() if key != 'image_key'}
        cells.append((line, values['image_key'], facts))
    first, seen = {}, {}
    for (line, name, facts), file in zip(cells, _located(root, [name for _, name, _ in cells]), strict=True):
        file = first.setdefault(os.path.normpath(file), file)  # a.png and ./a.png are the same file
        if seen.setdefault(file, facts) != facts:
            raise InputError(f'{path}, line {line}: {name} is listed twice, with different values')
    names = split_names(dataset)
    splits = _splits(path, seen, columns, header, names)
    notes = []
    if (option := replaces_validation(dataset)) and 'validation' in splits:
        kept = [split != 'validation' for split in splits]
        seen, splits = dict(itertools.compress(seen.items(), kept)), list(itertools.compress(splits, kept))
        notes.append(f'{path} (validation): ignored, because dataset.{option} replaces it')
    if not whole:
        column = columns.get('split_key', len(header))  # `there` includes rows without a label
        there = {unicodedata.normalize('NFC', row[column].strip()) for _, row in rows if row[column:]}
        check_split_names(path, names, there)
    labels = [facts['label_key'] for facts in seen.values()]
    are_numbers = all(label.isascii() and label.isdecimal() for label in labels)
    class_names = tuple(sorted(set(labels), key=lambda label: (int(label), label) if are_numbers else label))
    if len(class_names) < (least := least_classes(whole)):
        raise InputError(f'{path}: holds {len(class_names)} class(es); at least {least} are needed')
    if torn := [name for name in class_names if any('\ud800' <= letter <= '\udfff' for letter in name)]:
        raise InputError(f'{path}: the label {torn[0]!r} is not UTF-8: save the table as CSV in UTF-8')
    training = 'train' if 'split_key' in columns else ''
    trained = {name for name, split in zip(labels, splits, strict=True) if split == training}
    where = {split: f'{path} ({split})'.removesuffix(' ()') for split in dict.fromkeys([training, *splits])}
    rows = list(zip(seen, labels, splits, strict=True))
    notes += alike(class_names)
    if unlabelled:
        notes.append(f'{path}: {unlabelled} row(s) without a label are left out')
    groups = _groups(path, seen, splits) if 'group_key' in columns else None
    for name, split in zip(labels, splits, strict=True):
        if name not in trained:
            raise InputError(f'{path}: {unknown_class(name, split, "train", trained)}')
    return Listing.of(root, where, class_names, rows, notes=tuple(notes), groups=groups)


def write_list(listing: Listing, root) -> bytes:
    """Returns a gzipped table of pictures with their labels and splits; paths below `root` are relative to it.

    The split of a picture that is in no split is empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n', quoting=csv.QUOTE_ALL)  # otherwise a carriage return ends a row
    writer.writerow(('path', 'label', 'split'))
    below = f'{os.fspath(root)}/'
    for path, label, split in zip(listing.paths, listing.labels, listing.splits, strict=True):
        writer.writerow((path.removeprefix(below), listing.class_names[label], split))
    return gzip.compress(text.getvalue().encode(errors='surrogateescape'), mtime=0)


def read_list(path, root, class_names: tuple[str, ...]) -> Listing:
    """Reads a table of `write_list` without changing its names. Raises InputError if the table is damaged."""
    _, rows = _read(path)
    try:
        rows = [(str(_file_of(root, name)), label, split) for _, (name, label, split) in rows]
        where = {split: f'{path} ({split})' for split in dict.fromkeys(['train', *(split for *_, split in rows)])}
        return Listing.of(root, where, class_names, rows)
    except (ValueError, KeyError) as error:
        raise InputError(f'{path} is damaged ({type(error).__name__}: {error}): restore it from a copy') from error


def _read(path) -> tuple[list[str], list]:
    """Returns the header and (line, row) of each row that is not empty."""
    if not is_file(path):
        wrong = 'is a directory' if is_directory(path) else 'does not exist'
        raise InputError(f'{path}: {wrong}; image_table:<path> needs a CSV file{name_beside(path, is_file)}')
    try:
        content = path.read_bytes()
        if content.startswith(b'\x1f\x8b'):
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f'{path} is damaged ({error})') from error
    if b'\0' in content:
        raise InputError(f'{path}: is not a table in UTF-8: save it as CSV in UTF-8')
    # The name of a file may contain bytes that are not UTF-8.
    text = content.decode('utf-8-sig', errors='surrogateescape')
    first = text.lstrip('\r\n').partition('\n')[0]
    csv.field_size_limit(2**31 - 1)  # some tables hold masks or texts in other columns
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=max(',;\t', key=first.count), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        remedy = 'close each quotation mark, and double one inside a text'
        raise InputError(f'{path}, line {reader.line_num}: {error}: {remedy}') from error
    if not rows:
        raise InputError(f'{path}: is empty')
    return [name.strip() for name in rows[0][1]], rows[1:]


def _columns(path, header: list[str], dataset) -> dict[str, int]:
    """Maps the keys of `USUAL` to the numbers of their columns."""
    plain = [name.lower().replace(' ', '_').replace('-', '_') for name in header]
    columns = {}
    for key in USUAL:
        if (name := getattr(dataset, key)) not in (None, NO_COLUMN):
            if name not in header:
                raise InputError(f'dataset.{key}={name} is not a column of {path}, which has {", ".join(header)}')
            columns[key] = header.index(name)
    ignored = set()
    for key, usual in USUAL.items():
        found = [plain.index(name) for name in usual.split() if name in plain]
        free = [column for column in found if column not in columns.values()]  # the labels may be in a column 'scene'
        if getattr(dataset, key) == NO_COLUMN:
            ignored.update(free)
        elif key not in columns and free:
            columns[key] = free[0]
    left = [column for column, name in enumerate(header) if name and column not in {*columns.values(), *ignored}]
    if 'label_key' not in columns and len(left) == 1:
        columns['label_key'] = left[0]
    for key, what in (('image_key', 'paths'), ('label_key', 'labels')):
        if key not in columns:
            flag = f'--config.dataset.{key}={header[left[-1] if left else -1]}'
            raise InputError(f'{path}: which column holds the {what}? It has {", ".join(header)}: name it, e.g. {flag}')
    return columns


def _splits(path, seen, columns, header, names: dict[str, str]) -> list[str]:
    if 'split_key' not in columns:
        return [''] * len(seen)
    for picture, facts in seen.items():
        if facts['split_key'].lower() not in names:
            column = header[columns['split_key']]
            raise InputError(
                f'{path}: the {column} {facts["split_key"]!r} of {picture} is not a known split name: {NAME_SPLITS}'
            )
    splits = [names[facts['split_key'].lower()] for facts in seen.values()]
    if 'train' not in splits:
        raise InputError(f'{path}: has no training rows, only {", ".join(sorted(set(splits)))}: {NAME_SPLITS}')
    return splits


def _groups(path, seen, splits) -> np.ndarray:
    names = [facts['group_key'] or f'\0{picture}' for picture, facts in seen.items()]  # no group: a group of its own
    split_of = {}
    for name, split in zip(names, splits, strict=True):
        if split_of.setdefault(name, split) != split:
            why = 'keep each group in one split (or ignore groups with dataset.group_key=-)'
            raise InputError(f'{path}: the group {name} is in {split_of[name]} and in {split}: {why}')
    numbers = {name: number for number, name in enumerate(split_of)}
    return np.array([numbers[name] for name in names], np.int64)


def _file_of(root, name: str):
    """Returns the path that a row names: in an object store, absolute, or relative to `root`."""
    return to_path(name) if is_remote(name) else root / name


def _located(root, names: list[str]) -> list[str]:
    """Returns the paths of the pictures; lists each directory of names without a picture extension once."""
    entries = {}

    def locate(name):
        if '\\' in name and '/' not in name:  # written on Windows
            name = name.replace('\\', '/')
        file = _file_of(root, os.path.expanduser(name))
        if file.suffix.lower() in EXTENSIONS:
            return file
        if file.parent not in entries:
            there = sorted(file.parent.iterdir()) if is_directory(file.parent) else []
            by_stem = {entry.stem: entry for entry in reversed(there) if entry.suffix.lower() in EXTENSIONS}
            entries[file.parent] = by_stem, {entry.name: entry for entry in there}
        by_stem, by_name = entries[file.parent]
        whole = by_name.get(file.name)
        return whole if whole and not is_directory(whole) else by_stem.get(file.name, file)

    return [str(locate(name)) for name in names]
