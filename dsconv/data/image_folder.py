"""A person's own pictures: one folder a class."""

import dataclasses
import logging
import pathlib

import numpy as np

from dsconv.data.picture import is_grey, picture_header, read_picture
from dsconv.data.source import Source, are_characters, choose_class_names, fits_in_memory
from dsconv.data.splits import Division, Split, require_every_class, stratified_split
from dsconv.data.threads import map_threads
from dsconv.errors import InputError
from dsconv.files import is_directory, is_file, is_remote, to_path

EXTENSIONS = frozenset(['.png', '.jpg', '.jpeg', '.bmp', '.gif', '.webp', '.tif', '.tiff', '.ppm', '.pgm'])
LARGEST = 4096  # pixels a side of what is trained on without being asked for
TEST_FRACTION = 0.2
SPLIT_SEED = 80_20
CHUNK = 4096  # pictures handed to the threads at once

log = logging.getLogger('dsconv')


@dataclasses.dataclass(frozen=True)
class _Pictures:
    """Parallel arrays, one entry a picture."""

    paths: np.ndarray
    labels: np.ndarray
    splits: np.ndarray

    def __getitem__(self, rows) -> '_Pictures':
        return _Pictures(self.paths[rows], self.labels[rows], self.splits[rows])


def open_image_folder(path: str, dataset) -> Source:
    """Opens `path/{train,test[,validation]}/<class>/*`, or `path/<class>/*` with a fixed stratified 80/20 division.

    Every picture is decoded once here, so that the sizes of the splits are true before training starts: what cannot
    be decoded, a link that leads nowhere among it, is logged and left out. What fits in `dataset.memory_gigabytes` is
    kept, the rest is read again from its file whenever it is needed. Hidden files and files of other extensions are
    ignored. See `picture.fit` for what becomes of colour modes and sizes. `gs://BUCKET/…` is a folder too.

    Raises: InputError when there is no such folder or no picture in a class, when a link beside the classes leads
      nowhere, the splits' classes differ, more than 1 % of the pictures are broken, or the pictures differ in size, or
      are larger than `LARGEST`, and `dataset.image_size` is unset.
    """
    root = to_path(path)
    folders = _split_folders(root)
    class_names = _common_classes(folders)
    found = _list_pictures(folders, class_names)
    good, headers = _scan(found, root)
    image_size = dataset.image_size or _common_size(good, headers)
    channels = dataset.channels or (1 if all(is_grey(mode) for _, mode in headers) else 3)
    keep = fits_in_memory(len(good.paths), image_size, channels, dataset)
    good, images = _decode(good, image_size, channels, keep, root)
    for folder in folders:
        for label in np.setdiff1d(np.arange(len(class_names)), good.labels[good.splits == folder])[:1]:
            raise InputError(f'{folders[folder] / class_names[label]}: none of its pictures can be read')
    if '' in folders:
        good = _divided(good, class_names)

    def own(name: str) -> Split:
        rows = np.flatnonzero(good.splits == name)
        read = images.__getitem__ if keep else lambda indices: _read(good.paths[indices], image_size, channels)
        return Split(good.labels, read, in_memory=keep).subset(rows)

    sizes = {name: int(np.sum(good.splits == name)) for name in np.unique(good.splits).tolist()}
    names = choose_class_names(class_names, dataset)
    return Source(
        image_size,
        channels,
        names,
        not are_characters(names),
        Division(sizes, dataset.validation_fraction, dataset.train_fraction),
        own,
    )


def _split_folders(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Own split's name → its folder; {'': root} where classes stand at the top, and one may be called 'train'."""
    if not is_directory(root):
        wrong = 'is a file' if is_file(root) else 'does not exist'
        raise InputError(f'{root}: {wrong}; image_folder:<path> wants a folder that holds one folder a class')
    if not (root / 'train').is_dir() or not _subfolders(root / 'train'):
        return {'': root}
    names = ('train', 'validation', 'test')
    if others := sorted(set(_subfolders(root)).difference(names)):
        log.warning('%s: ignored beside train/: %s', root, ', '.join(others))
    return {name: root / name for name in names if (root / name).is_dir()}


def _subfolders(folder: pathlib.Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(('.', '__MACOSX')))


def _is_broken(path: pathlib.Path) -> bool:
    """Whether it is a link that leads nowhere, or round in a circle."""
    return not is_remote(path) and path.is_symlink() and not path.exists()


def _is_picture(path: pathlib.Path) -> bool:
    if path.suffix.lower() not in EXTENSIONS or path.name.startswith('.'):
        return False
    return is_remote(path) or path.is_file() or _is_broken(path)  # a store would be asked for each by itself


def _common_classes(folders: dict[str, pathlib.Path]) -> tuple[str, ...]:
    classes = {split: _subfolders(folder) for split, folder in folders.items()}
    first, names = next(iter(classes.items()))
    for folder in folders.values():
        for link in sorted(p for p in folder.iterdir() if not p.name.startswith('.') and _is_broken(p))[:1]:
            raise InputError(f'{link}: this link leads nowhere: mend or remove it')
    for split in classes:
        for name in sorted(set(names).symmetric_difference(classes[split]))[:1]:
            has, lacks = (first, split) if name in names else (split, first)
            raise InputError(
                f'class {name!r} is in {folders[has]} but not in {folders[lacks]}: every split needs a '
                f'folder for every class'
            )
    if len(names) < 2:
        raise InputError(
            f'{folders[first]}: holds {len(names)} class folder(s), a classifier needs at least 2 '
            f'(<class>/<picture>, or train/<class>/<picture> and test/<class>/<picture>)'
        )
    return tuple(names)


def _list_pictures(folders: dict[str, pathlib.Path], class_names: tuple[str, ...]) -> _Pictures:
    paths, labels, splits = [], [], []
    for split, folder in folders.items():
        for label, name in enumerate(class_names):
            found = sorted(
                str(p)
                for p in (folder / name).iterdir()  # sorted: no order of the machine's own
                if _is_picture(p)
            )
            if not found:
                raise InputError(f'{folder / name}: holds no picture itself ({", ".join(sorted(EXTENSIONS))})')
            paths += found
            labels += [label] * len(found)
            splits += [split] * len(found)
    return _Pictures(np.array(paths, object), np.array(labels, np.int32), np.array(splits, object))


def _scan(found: _Pictures, root: pathlib.Path) -> tuple[_Pictures, list]:
    """Reads every header. Returns the pictures that have one, and ((width, height), mode) of each."""
    headers = list(_attempts(picture_header, found.paths))
    broken = [header for header in headers if isinstance(header, InputError)]
    _report_broken(broken, len(headers), root)
    good = found[np.array([not isinstance(header, InputError) for header in headers])]
    return good, [header for header in headers if not isinstance(header, InputError)]


def _decode(good: _Pictures, image_size: int, channels: int, keep: bool, root: pathlib.Path):
    """Decodes every picture once. Returns those that can be decoded and, with `keep`, their images, else None."""
    images = np.empty((len(good.paths) if keep else 0, image_size, image_size, channels), np.uint8)
    broken, intact = [], np.ones(len(good.paths), bool)
    for row, image in enumerate(_attempts(lambda path: read_picture(path, image_size, channels), good.paths)):
        if isinstance(image, InputError):
            broken.append(image)
            intact[row] = False
        elif keep:
            images[row] = image
    _report_broken(broken, len(intact), root)
    if broken:
        good, images = good[intact], images[intact] if keep else images
    return good, images if keep else None


def _attempts(function, paths: np.ndarray):
    """`function` of every path in threads; where it raises an InputError, the error itself."""

    def attempt(path):
        try:
            return function(path)
        except InputError as error:
            return error

    for start in range(0, len(paths), CHUNK):
        yield from map_threads(attempt, paths[start : start + CHUNK])


def _report_broken(broken: list[InputError], total: int, root: pathlib.Path) -> None:
    if not broken:
        return
    some = '; '.join(str(error) for error in broken[:3])
    if len(broken) * 100 > total:
        raise InputError(
            f'{root}: {len(broken)} of {total} pictures are broken, more than 1 %: repair or remove them '
            f'({some}{"; …" if len(broken) > 3 else ""})'
        )
    log.warning('%s: %d of %d pictures are broken and left out: %s', root, len(broken), total, some)


def _common_size(good: _Pictures, headers: list) -> int:
    first, _ = headers[0]
    for path, (size, _) in zip(good.paths, headers, strict=True):
        if size != first or size[0] != size[1]:
            seen = ' and '.join(dict.fromkeys(f'{w}x{h}' for w, h in (first, size)))
            files = ', '.join(dict.fromkeys((good.paths[0], path)))
            raise InputError(
                f'pictures of {seen} pixels ({files}) are not all squares of one size: '
                f'give the size to bring them to, e.g. --config.dataset.image_size=32'
            )
    if first[0] > LARGEST:
        raise InputError(
            f'pictures of {first[0]}x{first[0]} pixels ({good.paths[0]}) are too large to train on: '
            f'give the size to bring them to, e.g. --config.dataset.image_size=32'
        )
    return first[0]


def _divided(good: _Pictures, class_names: tuple[str, ...]) -> _Pictures:
    size = round(len(good.labels) * TEST_FRACTION)
    train, test = stratified_split(good.labels, size, SPLIT_SEED)
    for name, part in (('train', train), ('test', test)):
        require_every_class(good.labels, part, class_names, f'the {name} part ({len(part)} pictures)')
    splits = np.full(len(good.labels), 'train', object)
    splits[test] = 'test'
    return _Pictures(good.paths, good.labels, splits)


def _read(paths: np.ndarray, image_size: int, channels: int) -> np.ndarray:
    images = np.empty((len(paths), image_size, image_size, channels), np.uint8)
    for row, image in enumerate(map_threads(lambda path: read_picture(path, image_size, channels), paths)):
        images[row] = image
    return images
