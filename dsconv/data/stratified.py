"""Divides examples by class and by group, into a held-out part or into folds; chooses examples evenly."""

from collections.abc import Iterator

import numpy as np

FOLDS_SEED = 20_153  # fixed, not the run's seed: every run of a study must use the same folds


def stratified_split(
    labels: np.ndarray, size: int, seed: int, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Holds out `size` examples, the same share of every class up to one example (largest remainder method).

    The last example of a class is held out only if the other classes have too few.

    With `groups`, integers `(n,)`, the examples of a group stay together; size and shares are then approximate.

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
    """Holds out each group, largest first, that brings the held-out classes nearer to their shares."""
    wanted = np.bincount(labels) * (size / len(labels))
    held = np.zeros(len(labels), bool)
    for members in _shuffled_groups(groups, np.random.Generator(np.random.Philox(key=[seed, 0]))):
        classes, counts = np.unique(labels[members], return_counts=True)
        if np.square(wanted[classes] - counts).sum() < np.square(wanted[classes]).sum():
            held[members] = True
            wanted[classes] -= counts
    return np.flatnonzero(~held), np.flatnonzero(held)


def _shuffled_groups(groups, generator) -> Iterator[np.ndarray]:
    """Yields the indices of each group, largest first; groups of equal size are in random order."""
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(which, kind='stable'), np.cumsum(sizes)[:-1])
    shuffled = generator.permutation(len(sizes))
    for group in shuffled[np.argsort(-sizes[shuffled], kind='stable')]:
        yield members[group]


def divide_into_folds(labels: np.ndarray, count: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Divides examples into `count` folds, each with the same share of every class, up to one example.

    With `groups`, integers `(n,)`, the examples of a group are in one fold, and the shares are approximate: the groups
    are assigned largest first, each to the fold in which its classes are rarest.

    Returns: int64 `(n,)`, the fold of each example, from 0. Without groups, fold k has `len(range(k, n, count))`
      examples.
    """
    generator = np.random.Generator(np.random.Philox(key=[FOLDS_SEED, 0]))
    folds = np.empty(len(labels), np.int64)
    if groups is None:
        shuffled = generator.permutation(len(labels))
        folds[shuffled[np.argsort(labels[shuffled], kind='stable')]] = np.arange(len(labels)) % count
        return folds
    totals = np.maximum(np.bincount(labels), 1)
    held = np.zeros((count, len(totals)))  # share of each class in each fold
    for members in _shuffled_groups(groups, generator):
        shares = np.bincount(labels[members], minlength=len(totals)) / totals
        rarest = (held * (shares / shares.max())).sum(1)
        fold = np.lexsort(np.round((held.sum(1), rarest), 9))[0]  # rounded, so that ties are the same on all processors
        held[fold] += shares
        folds[members] = fold
    return folds


def evenly(number: int, most: int) -> np.ndarray:
    """Returns the indices of at most `most` of `number` examples, evenly spaced from the first to the last."""
    return np.linspace(0, number - 1, min(number, most)).astype(int)
