"""Decodes pictures in parallel threads, in order.

Threads are enough, because Pillow and NumPy release the interpreter's lock while they decode and resize. Results are
returned in the order of the items.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dsconv.errors import InputError


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix='pictures')


def map_threads(function: Callable, *items: Iterable) -> Iterator:
    """Returns `map(function, *items)` on all cores, started at once. An exception is raised at its item."""
    return _pool().map(function, *items)


def map_images(function: Callable, shape: tuple, items, *more: Iterable) -> np.ndarray:
    """Returns the images of `shape` that `map_threads` yields, as one uint8 array `(len(items), *shape)`."""
    return np.fromiter(map_threads(function, items, *more), np.dtype((np.uint8, shape)), len(items))


def attempt(function: Callable, *arguments):
    """Returns the result of `function(*arguments)`, or the InputError that it raises."""
    try:
        return function(*arguments)
    except InputError as error:
        return error
