"""The first pass over the user's pictures: finds broken files, sizes and duplicates."""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np

from dsconv.data.listing import Listing
from dsconv.data.picture import of_sound_disk, picture_header, read_picture
from dsconv.data.processes import Processes
from dsconv.data.threads import attempt
from dsconv.errors import InputError


def read_headers(listing: Listing, processes: Processes, are_promised: bool) -> tuple[Listing, np.ndarray, list[str]]:
    """Reads all headers; unless `are_promised`, unreadable files without an extension are ignored, not broken.

    Returns: (the pictures with a valid header, int32 (width, height, is grey) of each, broken paths).
    """
    blocks = processes.attempt_all(of_sound_disk(picture_header), listing.paths, np.zeros(3, np.int32))
    headers, good = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    nameless = np.array(['.' not in path.rpartition('/')[2] for path in listing.paths], bool) & (not are_promised)
    if unknown := int(np.sum(nameless & ~good)):
        listing.other_files['no extension'] += unknown
    return listing.take(good), headers[good], listing.paths[~good & ~nameless].tolist()


def decode_all(listing: Listing, read: Callable, shape: tuple, keep: bool, processes: Processes):
    """Decodes every picture once with `read`: path → uint8 `shape`.

    Returns: (the pictures that can be decoded, their images `(n, *shape)` if `keep` else None, a uint64 hash `(n,)` of
      the pixels of each, broken paths).
    """
    result, result_shape = (read, shape) if keep else (lambda path: _digest(read(path)), (8,))
    results, good, row = np.empty((len(listing.paths), *result_shape), np.uint8), [], 0
    for block, done in processes.attempt_all(result, listing.paths, np.empty(result_shape, np.uint8)):
        decoded = block[done]
        results[row : row + len(decoded)] = decoded
        row += len(decoded)
        good.append(done)
    good, results = np.concatenate(good), results[:row]  # a view, because a copy would double the memory
    digests = np.fromiter(map(_digest, results), np.dtype((np.uint8, 8)), row) if keep else results
    return listing.take(good), results if keep else None, digests.view(np.uint64)[:, 0], listing.paths[~good].tolist()


def _digest(image: np.ndarray) -> np.ndarray:
    return np.frombuffer(hashlib.blake2b(image.tobytes(), digest_size=8).digest(), np.uint8)


def reasons(broken: list[str]) -> str:
    """Returns the errors of the first three files, read again: each process has read only its part of the files."""
    errors = {path: attempt(read_picture, path, 1, 3) for path in broken[:3]}
    return '; '.join(
        str(error) if isinstance(error, InputError) else f'{path}: could not be read' for path, error in errors.items()
    )


def repeated(listing: Listing, digests: np.ndarray) -> Iterator[str]:
    """Yields a message for pictures that are in two splits, and a message for pictures that are in two classes."""
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    is_held_out = (listing.splits == 'validation') | (listing.splits == 'test')
    tested = listing.paths[is_held_out & np.isin(which, which[listing.splits == 'train'])].tolist()
    if tested:
        remedy = 'identical to training pictures: remove them, or the scores will be too high'
        yield f'{listing.root}: in the validation or test split, {_first(tested)} {remedy}'
    num_classes = np.bincount(np.unique([which, listing.labels], axis=1)[0])
    contrary = listing.paths[np.sort(first[num_classes > 1])].tolist()
    if contrary:
        yield f'{listing.root}: {_first(contrary)} identical to pictures of another class: keep each in one class'


def _first(paths: list[str]) -> str:
    more = ', …' if len(paths) > 3 else ''
    return f'{len(paths):,} picture(s) ({", ".join(paths[:3])}{more}) are'
