"""Threads that keep the order: pictures decoded side by side, batches prepared ahead of the step that needs them.

Pillow and NumPy let go of the interpreter while they decode, resize and gather, so threads are enough; results come
back in the order in which they were asked for, whatever finished first.
"""

import collections
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


def prefetch(function: Callable, items: Iterable, ahead: int = 4) -> Iterator:
    """`map(function, items)` with up to `ahead` results prepared before they are asked for.

    `function` may itself call `map_threads`: its pool is another one, so that neither can wait for itself.
    """
    pool = ThreadPoolExecutor(2, thread_name_prefix='batches')
    pending = collections.deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
