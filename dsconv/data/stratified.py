"""Examples chosen or divided: by class and by group, into a part that is held out, and folds; or evenly."""

from collections.abc import Iterator

import numpy as np

FOLDS_SEED = 20_153  # fixed, and not the run's: every run of a study must be of the same folds


def stratified_split(
    labels: np.ndarray, size: int, seed: int, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out `size` examples, of every class the same share up to one example (largest remainder method).

    A class loses its last example only if the other classes cannot give enough.

    With `groups`, integers `(n,)`, examples of one group stay together, and size and shares are met as nearly as that
    allows.

    Returns: (kept, held out), two sorted int64 index arrays that together hold every example once.
    """
    if groups is not None:
        return _grouped_split(labels, size, seed, groups)
    classes, counts = np.unique(labels, return_counts=True)
    share = counts * (size / len(labels))
    take = np.floor(share).astype(int)
    by_remainder = np.lexsort((take - share, take + 1 >= counts))
    take[by_remainder[: size - take.sum()]] += 1
    generator = np.random.Generator(np.random.Philox(key=[seed, 0]))
    held = [generator.permutation(np.flatnonzero(labels == c))[:n] for c, n in zip(classes, take, strict=True)]
    held = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), held, assume_unique=True), held


def _grouped_split(labels, size, seed, groups):
    """Goes through the groups, the largest first, and holds out each that brings the classes nearer to their shares."""
    wanted = np.bincount(labels) * (size / len(labels))
    held = np.zeros(len(labels), bool)
    for members in _shuffled_groups(groups, np.random.Generator(np.random.Philox(key=[seed, 0]))):
        classes, counts = np.unique(labels[members], return_counts=True)
        if np.square(wanted[classes] - counts).sum() < np.square(wanted[classes]).sum():
            held[members] = True
            wanted[classes] -= counts
    return np.flatnonzero(~held), np.flatnonzero(held)


def _shuffled_groups(groups, generator) -> Iterator[np.ndarray]:
    """Yields the indices of each group, the largest first, those of one size in random order."""
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(which, kind='stable'), np.cumsum(sizes)[:-1])
    shuffled = generator.permutation(len(sizes))
    for group in shuffled[np.argsort(-sizes[shuffled], kind='stable')]:
        yield members[group]


def divide_into_folds(labels: np.ndarray, count: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Divides examples into `count` folds, of which each has the same share of every class, up to one example.

    With `groups`, integers `(n,)`, examples of one group are in one fold, and the shares are met as nearly as that
    allows: the largest group first, each goes where its classes are rarest.

    Returns: int64 `(n,)`, the fold of each example, from 0. Without groups, fold k has `len(range(k, n, count))`.
    """
    generator = np.random.Generator(np.random.Philox(key=[FOLDS_SEED, 0]))
    folds = np.empty(len(labels), np.int64)
    if groups is None:
        shuffled = generator.permutation(len(labels))
        folds[shuffled[np.argsort(labels[shuffled], kind='stable')]] = np.arange(len(labels)) % count
        return folds
    totals = np.maximum(np.bincount(labels), 1)
    held = np.zeros((count, len(totals)))  # shares of the classes
    for members in _shuffled_groups(groups, generator):
        shares = np.bincount(labels[members], minlength=len(totals)) / totals
        rarest = (held * (shares / shares.max())).sum(1)
        fold = np.lexsort(np.round((held.sum(1), rarest), 9))[0]  # so that ties are ties on any processor
        held[fold] += shares
        folds[members] = fold
    return folds


def evenly(number: int, most: int) -> np.ndarray:
    """Returns the indices of at most `most` of `number` examples, evenly spaced from the first to the last."""
    return np.linspace(0, number - 1, min(number, most)).astype(int)
