"""A person's own pictures: one folder a class."""

import logging
import zlib
from collections.abc import Iterator

import numpy as np

from dsconv.data.listing import Listing, list_pictures
from dsconv.data.picture import is_grey, picture_header, read_picture
from dsconv.data.processes import Processes
from dsconv.data.source import Source, are_characters, fits_in_memory, folder_class_names
from dsconv.data.splits import TEST_FRACTION, Division, Split
from dsconv.data.threads import attempt, map_threads
from dsconv.errors import InputError

LARGEST = 4096  # pixels a side of what is trained on without being asked for
BROKEN_SHARE, BROKEN_COUNT = 0.1, 3  # more broken pictures than both stop the run

log = logging.getLogger('dsconv')


def open_image_folder(path: str, dataset, processes: Processes) -> Source:
    """Opens a folder in one of the layouts of `list_pictures`, and says in one line how it was read.

    Every picture is decoded once here, so that the sizes of the splits are true before training starts: what cannot
    be decoded, a link that leads nowhere among it, is logged and left out. What fits in `dataset.memory_gigabytes` is
    kept, the rest is read from its file whenever it is needed. A folder without splits gets a test split of a
    fixed fifth of each class; so does one with train/ alone, unless `dataset.validation_fraction` is set.

    Args:
      path: of the folder, `gs://BUCKET/…` too.
      dataset: as for `open_source`.
      processes: of the run, among which the decoding is divided. All of them keep all images.

    Raises: InputError as `list_pictures`; when fewer than two classes have a picture to train on; when more than 3
      pictures and more than 10 % are broken; when the pictures differ in size, or are larger than `LARGEST`, and
      `dataset.image_size` is unset.
    """
    listing = list_pictures(path, without_validation=bool(dataset.validation_fraction))
    _require_equal_listings(listing, processes)
    found = len(listing.paths)
    _check(listing, [], found)
    listing, headers, broken = _scan(listing, processes)
    _check(listing, broken, found)
    image_size = dataset.image_size or _common_size(listing, headers)
    channels = dataset.channels or (1 if headers[:, 2].all() else 3)
    keep = fits_in_memory(len(listing.paths), image_size, channels, dataset)

    def read(path):
        return read_picture(path, image_size, channels)

    like = np.empty((image_size, image_size, channels), np.uint8)
    listing, images, undecodable = _decode(listing, read, like, keep, processes)
    broken += undecodable
    _check(listing, broken, found)

    splits = np.where(listing.splits == '', 'train', listing.splits)  # the classes stand at the top
    sizes = {name: int(np.sum(splits == name)) for name in ('train', 'validation', 'test') if name in splits}
    is_divided = set(sizes) > {'train'} or ('' not in listing.folders and bool(dataset.validation_fraction))
    names, labels = folder_class_names(listing.class_names, listing.labels, dataset)

    def own(name: str) -> Split:
        images_at = images.__getitem__ if keep else lambda indices: _read(listing.paths[indices], read)
        return Split(labels, images_at, in_memory=keep).subset(np.flatnonzero(splits == name))

    division = Division(
        sizes, dataset.validation_fraction, dataset.train_fraction, 0.0 if is_divided else TEST_FRACTION
    )
    source = Source(image_size, channels, names, not are_characters(names), division, own)
    _tell(listing, broken, is_divided)
    return source


def _require_equal_listings(listing: Listing, processes: Processes) -> None:
    """Raises InputError where a process would decode other pictures than its peers take them for."""
    text = '\n'.join(path.removeprefix(str(listing.root)) for path in listing.paths)
    seen = processes.gather(np.array([len(listing.paths), zlib.crc32(text.encode(errors='surrogateescape')) >> 1]))
    if (seen != seen[0]).any():
        raise InputError(f'{listing.root}: the processes of the run see different pictures: give all the same folder')


def _scan(listing: Listing, processes: Processes) -> tuple[Listing, np.ndarray, list[str]]:
    """Reads every header. Returns the pictures that have one, int32 (width, height, is grey) of each, broken paths."""

    def header(path):
        (width, height), mode = picture_header(path)
        return np.array([width, height, is_grey(mode)], np.int32)

    blocks = processes.attempt_all(header, listing.paths, np.zeros(3, np.int32))
    headers, good = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    nameless = np.array(['.' not in path.rpartition('/')[2] for path in listing.paths], bool)
    if unknown := int(np.sum(nameless & ~good)):  # no extension promised that they are pictures
        listing.other_files['no extension'] += unknown
    return listing.take(good), headers[good], listing.paths[~good & ~nameless].tolist()


def _decode(listing: Listing, read, like: np.ndarray, keep: bool, processes: Processes):
    """Decodes every picture once. Returns those that can be decoded, with `keep` their images, broken paths."""
    images = np.empty((len(listing.paths) if keep else 0, *like.shape), np.uint8)
    good, row = np.zeros(len(listing.paths), bool), 0
    result = read if keep else lambda path: read(path)[0, 0, :1]  # whether it succeeds is all that is asked
    for block, done in processes.attempt_all(result, listing.paths, like if keep else like[0, 0, :1]):
        rows = slice(row, row := row + len(done))
        good[rows] = done
        if keep:
            images[rows] = block
    broken = listing.paths[~good].tolist()
    if broken:
        listing, images = listing.take(good), images[good] if keep else images
    return listing, images if keep else None, broken


def _check(listing: Listing, broken: list[str], total: int) -> None:
    """Raises InputError where too many pictures are broken, or too few classes are left."""
    if len(broken) > max(BROKEN_COUNT, BROKEN_SHARE * total):
        raise InputError(
            f'{listing.root}: {len(broken)} of {total} pictures are broken, more than 10 %: repair or remove them '
            f'({_reasons(broken)}; …)'
        )
    training = next(iter(listing.folders))
    there = len(np.unique(listing.labels[listing.splits == training]))
    if there < 2:
        reasons = f' ({_reasons(broken)})' if broken else ''
        raise InputError(
            f'{listing.folders[training]}: {there} of its {len(listing.class_names)} class folders hold a picture that '
            f'can be read{_counted(listing.other_files, ", and ")}, a classifier needs at least 2{reasons}'
        )


def _reasons(broken: list[str]) -> str:
    """Says what is wrong with the first three, read again: a process has read only its part."""
    errors = [attempt(lambda path: read_picture(path, 1, 3))(path) for path in broken[:3]]
    return '; '.join(
        str(error) if isinstance(error, InputError) else f'{path}: could not be read'
        for path, error in zip(broken, errors, strict=False)
    )


def _common_size(listing: Listing, headers: np.ndarray) -> int:
    first = headers[0, :2]
    other = np.flatnonzero((headers[:, :2] != first).any(1) | (headers[:, 0] != headers[:, 1]))
    for row in other[:1]:
        seen = ' and '.join(dict.fromkeys(f'{width}x{height}' for width, height in (first, headers[row, :2])))
        files = ', '.join(dict.fromkeys((listing.paths[0], listing.paths[row])))
        raise InputError(
            f'pictures of {seen} pixels ({files}) are not all squares of one size: '
            f'give the size to bring them to, e.g. --config.dataset.image_size=32'
        )
    if first[0] > LARGEST:
        raise InputError(
            f'pictures of {first[0]}x{first[0]} pixels ({listing.paths[0]}) are too large to train on: '
            f'give the size to bring them to, e.g. --config.dataset.image_size=32'
        )
    return int(first[0])


def _read(paths: np.ndarray, read) -> np.ndarray:
    return np.stack(list(map_threads(read, paths)))


def _tell(listing: Listing, broken: list[str], is_divided: bool) -> None:
    """Logs how the folder was read in one line, and what a person should know in one line each."""
    counts = {split: int(np.sum(listing.splits == split)) for split in listing.folders}
    if '' in counts:
        what = f'{counts[""]:,} pictures of {len(listing.class_names)} classes'
    else:
        what = ', '.join(f'{listing.folders[split].name}/ ({count:,} pictures)' for split, count in counts.items())
        what += f' of {len(listing.class_names)} classes'
    fifth = '' if is_divided else '; a fixed fifth of each class is the test split'
    log.info('%s: read as %s%s%s', listing.root, what, fifth, _counted(listing.other_files, '; left out '))
    for note in (*listing.notes, *_missing_classes(listing)):
        log.warning('%s', note)
    if broken:
        log.warning('%s: %d picture(s) are broken and left out: %s', listing.root, len(broken), _reasons(broken))


def _counted(others, before: str) -> str:
    if not others:
        return ''
    kinds = ', '.join(f'{count:,} {extension}' for extension, count in others.most_common(5))
    return f'{before}{sum(others.values()):,} files that are no pictures known here ({kinds})'


def _missing_classes(listing: Listing) -> Iterator[str]:
    for split, folder in listing.folders.items():
        there = set(listing.labels[listing.splits == split].tolist())
        missing = [name for label, name in enumerate(listing.class_names) if label not in there]
        if missing:
            more = '' if len(missing) <= 3 else f' and {len(missing) - 3} more'
            yield f'{folder}: has no picture of the class(es) {", ".join(map(repr, missing[:3]))}{more}'
