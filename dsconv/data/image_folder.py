"""The user's own pictures: one folder per class, or a table of paths and labels."""

import collections
import dataclasses
import functools
import logging
from collections.abc import Iterator

import numpy as np

from dsconv.config_auto import choose_sizes, is_auto
from dsconv.data.first_pass import decode_all, read_headers, reasons, repeated
from dsconv.data.listing import Listing, least_classes, list_pictures
from dsconv.data.picture import drawn_crop, of_sound_disk, read_picture
from dsconv.data.processes import Processes
from dsconv.data.source import FOLDER_PREFIX, TABLE_PREFIX, Source, are_characters, fits_in_memory, folder_class_names
from dsconv.data.splits import Division, Split, tested_fraction
from dsconv.data.table import list_table, read_list, write_list
from dsconv.data.threads import map_images
from dsconv.errors import InputError
from dsconv.files import to_path

LARGEST = 4096  # pixels per side; larger pictures need `dataset.image_size`, set or automatic
BROKEN_SHARE, BROKEN_COUNT = 0.1, 3  # the run stops if the broken pictures exceed both

log = logging.getLogger('dsconv')


def open_pictures(dataset, processes: Processes, listed=None, whole: bool = False) -> Source:
    """Opens a folder (see `list_pictures`) or a table (see `list_table`), and logs in one line how it was read.

    Every picture is decoded once here, so that the sizes of the splits are final before training starts. Pictures that
    cannot be decoded, such as broken links with the name of a picture, are logged and ignored. The images are kept in
    memory if they fit in `dataset.memory_gigabytes`; otherwise a picture is read from its file whenever it is needed.
    Pictures without splits get a test split, a fixed fifth of each class, unless `dataset.fold` is set. Pictures with
    only a training split get it too, unless `dataset.fold` or `dataset.validation_fraction` is set.

    The arguments are those of `open_source`. Every process keeps all images.

    Raises: InputError as `list_pictures` and `list_table`; when processes see different pictures; when too few classes
      have a picture; when more than 3 pictures and more than 10 % are broken, or any picture of `listed`; when
      `dataset.image_size` is neither set nor automatic and the pictures are not squares of one size up to `LARGEST`.
    """
    listing, root = _list(dataset, listed, whole)
    below = [path.removeprefix(str(listing.root)) for path in listing.paths]
    if not processes.agree(below, listing.labels.tolist(), listing.splits.tolist()):
        raise InputError(f'{listing.root}: the processes of the run see different pictures: use one folder for all')
    check = functools.partial(_check, total=len(listing.paths), whole=whole, listed=listed)
    check(listing, [])
    are_promised = listed is not None or dataset.name.startswith(TABLE_PREFIX)
    listing, headers, broken = read_headers(listing, processes, are_promised)
    check(listing, broken)
    is_known = dataset.image_size or is_auto(dataset, 'dataset.image_size')
    size = dataset.image_size if is_known else _common_size(listing, headers)
    size, scale = choose_sizes(listing.root, headers[:, :2], size, dataset)
    channels = dataset.channels or (1 if headers[:, 2].all() else 3)
    shape, keep = (size, size, channels), fits_in_memory(len(listing.paths), size, channels, dataset)

    @of_sound_disk
    def read(path, crop=None):
        return read_picture(path, size, channels, dataset.resize, crop)

    listing, images, digests, undecodable = decode_all(listing, read, shape, keep, processes)
    broken += undecodable
    check(listing, broken)
    drawn = frozenset()
    if listed:
        log.info('%s: only the %s pictures with which the run began are used', listed, f'{len(listing.paths):,}')
    else:
        names, labels = folder_class_names(listing.class_names, listing.labels, dataset)
        listing = dataclasses.replace(listing, class_names=names, labels=labels)
        tested = tested_fraction(set(listing.splits.tolist()), dataset, whole)
        splits = np.full(len(labels), 'train', object) if whole else _divided(listing, dataset, tested)
        _tell(listing, broken, bool(tested))
        drawn = frozenset(splits.tolist()) - {*listing.splits.tolist(), 'train'}
        listing = dataclasses.replace(listing, splits=splits)
    for note in repeated(listing, digests):
        log.warning('%s', note)

    def images_at(indices, *draw):
        if draw:  # crops depend on the place in the epoch, because a picture may be drawn several times
            *seeds, places = draw
            crops = [drawn_crop(scale, dataset.crop_ratio, *seeds, place) for place in places.tolist()]
            return map_images(read, shape, listing.paths[indices], crops)
        return images[indices] if keep else map_images(read, shape, listing.paths[indices])

    every = Split(listing.labels, images_at, keep, listing.paths, cropped=bool(scale))
    return Source(
        size,
        channels,
        listing.class_names,
        not are_characters(listing.class_names),
        Division(collections.Counter(listing.splits.tolist()), 0.0, 1.0),
        lambda name: every.subset(np.flatnonzero(listing.splits == name)),
        lambda: write_list(listing, root),
        scale,
        drawn,
    )


def _list(dataset, listed, whole):
    """Returns (listing, the folder to which the paths of `Source.table` are relative)."""
    path = to_path(dataset.name.partition(':')[2])
    root = path if dataset.name.startswith(FOLDER_PREFIX) else to_path(dataset.root or path.parent)
    if listed is not None:
        return read_list(listed, root, dataset.class_names), root
    list_them = list_table if dataset.name.startswith(TABLE_PREFIX) else list_pictures
    return list_them(path, dataset, whole), root


def _check(listing: Listing, broken: list[str], total: int, whole: bool, listed) -> None:
    """Raises InputError if too many pictures are broken, or too few classes are left to train on, or at all."""
    if broken and listed:
        raise InputError(
            f'{len(broken)} of the {total} pictures of this run ({listed}) can no longer be read: restore them '
            f'({reasons(broken)})'
        )
    if len(broken) > max(BROKEN_COUNT, BROKEN_SHARE * total):
        raise InputError(
            f'{listing.root}: {len(broken)} of {total} pictures cannot be read, more than 10 %: repair or remove them, '
            f'or, for a table, set the directory of its paths: --config.dataset.root=DIR ({reasons(broken)}; …)'
        )
    training, least = next(iter(listing.where)), least_classes(whole)
    there = len(np.unique(listing.labels[whole | (listing.splits == training)]))
    if there < least:
        why = f' ({reasons(broken)})' if broken else ''
        where, classes = listing.root if whole else listing.where[training], len(listing.class_names)
        left_out = _left_out(listing.other_files)
        raise InputError(
            f'{where}: {there} of its {classes} classes have a readable picture{left_out}; at least {least} must have '
            f'one{why}'
        )


def _common_size(listing: Listing, headers: np.ndarray) -> int:
    first = headers[0, :2]
    other = np.flatnonzero((headers[:, :2] != first).any(1) | (headers[:, 0] != headers[:, 1]))
    if other.size:
        row = other[0]
        seen = ' and '.join(dict.fromkeys(f'{width}x{height}' for width, height in (first, headers[row, :2])))
        files = ', '.join(dict.fromkeys((listing.paths[0], listing.paths[row])))
        raise InputError(
            f'pictures of {seen} pixels ({files}) are not all squares of one size: '
            f'set the size to resize them to, e.g. --config.dataset.image_size=32'
        )
    if first[0] > LARGEST:
        raise InputError(
            f'pictures of {first[0]}x{first[0]} pixels ({listing.paths[0]}) are too large to train on: '
            f'set the size to resize them to, e.g. --config.dataset.image_size=32'
        )
    return int(first[0])


def _divided(listing: Listing, dataset, tested: float) -> np.ndarray:
    """Returns the split of each picture after held-out parts are cut from the training split; '' if it is in none."""
    splits = np.where(listing.splits == '', 'train', listing.splits)
    division = Division.of(collections.Counter(splits.tolist()), dataset, tested)
    training = np.flatnonzero(splits == 'train')
    labels, groups = listing.labels[training], None if listing.groups is None else listing.groups[training]
    splits[training] = ''
    for name in division.sizes:
        if division.own_split(name) == 'train':
            splits[training[division.members(name, labels, listing.class_names, groups)]] = name
    return splits


def _tell(listing: Listing, broken: list[str], is_tested: bool) -> None:
    """Logs in one line how the pictures were read, then one line for each note and warning."""
    counts = collections.Counter(listing.splits.tolist())
    names = {
        split: split if where.endswith(f'({split})') else f'{where.removeprefix(f"{listing.root}/")}/'
        for split, where in listing.where.items()
    }
    what = ', '.join(f'{names[split]} ({counts[split]:,} pictures)' for split in listing.where if split)
    what = what or f'{counts[""]:,} pictures'
    fifth = '; a fixed fifth of each class is the test split' if is_tested else ''
    if listing.groups is not None:
        groups = f'{len(np.unique(listing.groups)):,} groups'
        fifth += f'; each of the {groups} stays in one split (dataset.group_key=- ignores groups)'
    left_out = _left_out(listing.other_files)
    log.info('%s: read as %s of %d classes%s%s', listing.root, what, len(listing.class_names), fifth, left_out)
    for note in (*listing.notes, *_missing_classes(listing)):
        log.warning('%s', note)
    if are_characters(listing.class_names):
        log.info('%s: its classes look like characters: augment.flip=auto does not mirror them', listing.root)
    if broken:
        log.warning('%s: %d picture(s) are broken and left out: %s', listing.root, len(broken), reasons(broken))


def _left_out(others: collections.Counter) -> str:
    if not others:
        return ''
    kinds = ', '.join(f'{count:,} {extension}' for extension, count in others.most_common(5))
    return f'; left out {sum(others.values()):,} files of other types ({kinds})'


def _missing_classes(listing: Listing) -> Iterator[str]:
    for split, where in listing.where.items():
        there = set(listing.labels[listing.splits == split].tolist())
        missing = [name for label, name in enumerate(listing.class_names) if label not in there]
        if missing:
            more = '' if len(missing) <= 3 else f' and {len(missing) - 3} more'
            yield f'{where}: has no picture of the class(es) {", ".join(map(repr, missing[:3]))}{more}'
