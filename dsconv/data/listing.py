"""Finds the labelled pictures in a folder: which folders are splits, which are classes, which files are pictures."""

import collections
import dataclasses
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from dsconv.data.picture import EXTENSIONS
from dsconv.errors import InputError, did_you_mean
from dsconv.files import is_directory, is_file, is_remote, name_beside

SPLIT_NAMES = {
    f'{name}{end}': split
    for split, names in {
        'train': ('train', 'training'),
        'validation': ('val', 'valid', 'validation', 'dev'),
        'test': ('test', 'testing'),
    }.items()
    for name in names
    for end in ('', 'set', '_set', '-set', ' set', '_data', '-data', ' data', '_images', '-images', ' images')
}
# Files and folders that systems and file servers create, in lower case; hidden files and folders are ignored as well.
LEFT_BEHIND = frozenset(
    ('@eadir', '__macosx', '__pycache__', 'lost+found', '$recycle.bin', 'system volume information')
    + ('thumbs.db', 'desktop.ini', 'icon\r')
)
NAME_SPLITS = 'name the splits, e.g. --config.dataset.splits=train=a,test=b'  # the remedy in error messages


@dataclasses.dataclass(frozen=True)
class Listing:
    """The files of a folder that may be pictures, in an order that depends on their names alone.

    Attributes:
      root: the folder that holds the classes or the splits; for a table, the folder of its paths.
      where: split → its name in messages, the training split first; {'': …} if the data has no splits.
      class_names: one per label, in Unicode's composed form (NFC), sorted.
      paths: text `(n,)`.
      labels: int32 `(n,)`.
      splits: text `(n,)`, keys of `where`.
      other_files: extension → number of files that are not pictures.
      notes: messages for the user, e.g. about data that is ignored.
      groups: int64 `(n,)`; pictures with the same number stay together when a split is divided. None without groups.
    """

    root: pathlib.Path
    where: dict[str, str]
    class_names: tuple[str, ...]
    paths: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    other_files: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    notes: tuple[str, ...] = ()
    groups: np.ndarray | None = None

    @classmethod
    def of(cls, root, where: dict[str, str], class_names: tuple[str, ...], rows: list[tuple], **others) -> 'Listing':
        """Returns the listing of `rows`: (path, class name, split) of each file; `others` are attributes."""
        numbers = {name: number for number, name in enumerate(class_names)}
        paths, names, splits = np.array(rows, object).reshape(-1, 3).T
        labels = np.array([numbers[name] for name in names], np.int32)
        return cls(root, where, class_names, paths, labels, splits, **others)

    def take(self, rows) -> 'Listing':
        """Returns the listing of the files at `rows`, indices or a mask."""
        arrays = dict(paths=self.paths, labels=self.labels, splits=self.splits, groups=self.groups)
        taken = {name: None if array is None else array[rows] for name, array in arrays.items()}
        return dataclasses.replace(self, **taken)


def split_names(dataset) -> dict[str, str]:
    """Maps the data's split names, in lower case, to 'train', 'validation' and 'test': usual names or `dataset.splits`.

    Raises: InputError when an item of `dataset.splits` is not `ours=theirs`, or names a split of the data twice.
    """
    names = {}
    for pair in dataset.splits or ():
        ours, _, theirs = pair.partition('=')
        if ours not in ('train', 'validation', 'test') or not theirs:
            raise InputError(f'dataset.splits: {pair!r} must be train=NAME, validation=NAME or test=NAME')
        if theirs.lower() in names:
            both = f'{names[theirs.lower()]} and {ours}'
            raise InputError(f'dataset.splits: {theirs} cannot be both {both}: leave one out')
        names[theirs.lower()] = ours
    return names or SPLIT_NAMES


def least_classes(whole: bool) -> int:
    """Returns the smallest number of classes: one for pictures taken as a `whole`, two for pictures to train on."""
    return 1 if whole else 2


def replaces_validation(dataset) -> str | None:
    """Returns the option that replaces the data's own validation split, 'fold' or 'validation_fraction', or None."""
    return 'fold' if dataset.fold else 'validation_fraction' if dataset.validation_fraction else None


def check_split_names(where, names: dict[str, str], there) -> None:
    """Raises InputError if `dataset.splits` names a split, a key of `names`, that is not in `there`."""
    for name in names:
        if names is not SPLIT_NAMES and name not in map(str.lower, there):
            raise InputError(f'dataset.splits: {where} has no split {name}{did_you_mean(name, there)}')


def list_pictures(given: pathlib.Path, dataset, whole: bool = False) -> Listing:
    """Lists `path/<class>/…` or `path/{train,val,test}/<class>/…`, at any depth below a class.

    If a folder or a split has only one subfolder, the search continues there, and a note names the folder in which the
    classes were found. A split without class folders is ignored, and so is a validation split that `dataset.fold` or
    `dataset.validation_fraction` replaces. With `whole`, one class is enough, and the training split may lack classes.

    Raises: InputError when there is no such folder, a link points to a folder above it, or to nothing and has not the
      extension of a picture, two folders stand for one split, the training split lacks a class, or there are too few
      classes.
    """
    names = split_names(dataset)
    if not is_directory(given):
        wrong = 'is a file' if is_file(given) else 'does not exist'
        near = name_beside(given, is_directory)
        raise InputError(f'{given}: {wrong}; image_folder:<path> needs a folder with one subfolder per class{near}')
    root = _unwrapped(given, names)
    notes: list[str] = []
    folders = _split_folders(root, names, notes, whole)
    if (option := replaces_validation(dataset)) and 'validation' in folders:
        notes.append(f'{folders.pop("validation")}: ignored, because dataset.{option} replaces it')
    training, *further = folders
    holder = folders[training] if training else given
    if training:
        folders[training] = _unwrapped(folders[training], {})
    classes = {training: _classes(folders[training])}
    for split in further:
        folders[split] = _unwrapped(folders[split], classes[training])
        classes[split] = _classes(folders[split])
        known = classes[split] if whole else classes[split].keys() & classes[training].keys()
        if len(classes[split]) < 2 and not known:
            left_out = folders.pop(split)  # its pictures are probably unlabelled
            notes.append(f'{left_out}: ignored, because it has none of the classes; use `predict` for its pictures')
    class_names = tuple(sorted(set().union(*classes.values()) if whole else classes[training]))
    if len(class_names) < (least := least_classes(whole)):
        form = '(<class>/<picture>, or train/<class>/<picture> and test/<class>/<picture>)'
        raise InputError(f'{folders[training]}: has {len(class_names)} class folder(s), needs {least} or more {form}')
    if folders[training] != holder:
        first = ', '.join(class_names[:3]) + (', …' if len(class_names) > 3 else '')
        notes.append(f'{holder}: contains only one folder, so the classes are those in {folders[training]}: {first}')
    notes += alike(class_names)
    rows, others = [], collections.Counter()
    for split, folder in folders.items():
        if loose := sum(path.suffix.lower() in EXTENSIONS and not _is_left_behind(path) for path in folder.iterdir()):
            notes.append(f'{folder}: {loose} picture(s) beside the class folders are left out')
        above = _real_path(root), _real_path(folder)
        for name in sorted(classes[split]):
            found = sorted(
                path for each in classes[split][name] for path in pictures_below(each, above, others, strict=True)
            )
            if found and name not in class_names:
                raise InputError(unknown_class(name, folder, folders[training], class_names))
            rows += [(path, name, split) for path in found]
    where = {split: str(folder) for split, folder in folders.items()}
    return Listing.of(root, where, class_names, rows, other_files=others, notes=tuple(notes))


def _unwrapped(root: pathlib.Path, names: Mapping) -> pathlib.Path:
    """Returns the last of a chain of single subfolders, as in archives, before one in `names` or without subfolders."""
    above = [_real_path(root)]
    while len(inside := _subfolders(root)) == 1:
        [folder] = inside
        if {folder.name.lower(), unicodedata.normalize('NFC', folder.name)} & names.keys() or not _subfolders(folder):
            break
        above.append(_real_path(folder, above))
        root = folder
    return root


def _split_folders(root: pathlib.Path, names: dict[str, str], notes: list[str], whole) -> dict[str, pathlib.Path]:
    """Maps each split to its folder, training first; {'': root} if `root` holds the classes (one may be 'train')."""
    _check_links(entry for entry in root.iterdir() if entry.name.lower() in names)
    found, inside = collections.defaultdict(list), _subfolders(root)
    for folder in inside:
        found[names.get(folder.name.lower())].append(folder)
    others = found.pop(None, [])
    training = [folder for folder in found['train'] if _subfolders(folder)]
    if not training and (others or not any(_subfolders(folder) for folders in found.values() for folder in folders)):
        if names is not SPLIT_NAMES:
            raise InputError(
                f'{root}: has no folder that dataset.splits names for train: name each split, e.g. train=a,test=b'
            )
        for split in ('validation', 'test'):
            notes += [f'{folder}: read as a class, because no train/ holds classes' for folder in found[split]]
        return {'': root}
    if not found['train'] and not whole:
        holds = f'{root}: holds {next(iter(filter(None, found.values())))[0].name}/ but no train/'
        raise InputError(f'{holds}: add it, or {NAME_SPLITS}')
    check_split_names(root, names, [folder.name for folder in inside])
    for split, folders in found.items():
        if len(folders) > 1:
            raise InputError(f'{folders[0]} and {folders[1]} are both the {split} split: keep one of them')
    if others:
        ignored = ', '.join(folder.name for folder in others)
        notes.append(f'{root}: folders beside {found["train"][0].name}/ are ignored: {ignored}')
    return {split: found[split][0] for split in ('train', 'validation', 'test') if found[split]}


def _subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(entry for entry in folder.iterdir() if not _is_left_behind(entry) and entry.is_dir())


def _is_left_behind(path: pathlib.Path) -> bool:
    return path.name.startswith('.') or path.name.lower() in LEFT_BEHIND


def _classes(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Maps each NFC name to its folders: two if a copy from macOS has the same name in NFD."""
    _check_links(folder.iterdir())
    classes = collections.defaultdict(list)
    for entry in _subfolders(folder):
        classes[unicodedata.normalize('NFC', entry.name)].append(entry)
    return dict(classes)


def _check_links(entries: Iterable[pathlib.Path]) -> None:
    for entry in sorted(entries):
        if not _is_left_behind(entry) and _is_broken_link(entry):
            raise InputError(f'{entry}: this link is broken: repair or remove it')


def unknown_class(name: str, there, training, class_names) -> str:
    """Returns the error message for a class of the split `there` that the training split, `training`, lacks."""
    unknown = f'class {name!r} is in {there} but not in {training}: add it there, or remove it'
    return f'{unknown}{did_you_mean(name, class_names)}'


def alike(class_names: tuple[str, ...]) -> list[str]:
    """Returns a note for each set of classes whose names differ only in case."""
    by_name = collections.defaultdict(list)
    for name in class_names:
        by_name[name.casefold()].append(name)
    return [
        f'{" and ".join(names)} are classes that differ only in case' for names in by_name.values() if len(names) > 1
    ]


def pictures_below(
    folder: pathlib.Path, above: tuple[str, ...], others: collections.Counter, strict: bool = False
) -> Iterator[str]:
    """Yields the files below a folder with a picture's extension or none; counts other extensions in `others`.

    If `strict`, a broken link that may stand for a folder of pictures raises InputError.
    """
    above = (*above, _real_path(folder, above))
    for entry in folder.iterdir():
        extension = entry.suffix.lower()
        is_picture = extension in EXTENSIONS
        if _is_left_behind(entry):
            continue
        if not (is_remote(entry) and is_picture) and entry.is_dir():  # saves a request per picture to an object store
            yield from pictures_below(entry, above, others, strict)
        elif is_remote(entry) or entry.is_file() or (is_picture and _is_broken_link(entry)):
            if is_picture or not extension:
                yield str(entry)
            else:
                others[extension] += 1
        elif strict and not extension:
            _check_links([entry])


def _is_broken_link(path: pathlib.Path) -> bool:
    """Returns whether `path` is a broken link or a link to itself."""
    return not is_remote(path) and path.is_symlink() and not path.exists()


def _real_path(folder: pathlib.Path, above=()) -> str:
    """Returns the real path of a folder. Raises InputError if a link leads back to one of the folders above it."""
    real = str(folder) if is_remote(folder) else os.path.realpath(folder)
    for holder in above:
        if holder == real or holder.startswith(real.rstrip('/') + '/'):
            raise InputError(f'{folder}: this link points to a folder that contains it: remove the link')
    return real
