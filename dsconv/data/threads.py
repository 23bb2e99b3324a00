"""Threads that keep the order: pictures decoded side by side.

Pillow and NumPy let go of the interpreter while they decode and resize, so threads are enough; results come
back in the order in which they were asked for, whatever finished first.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix='pictures')


def map_threads(function: Callable, items: Iterable) -> Iterator:
    """`map(function, items)` over all cores. An exception is raised at the item that caused it."""
    return _pool().map(function, items)
