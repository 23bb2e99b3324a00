"""Reads batches ahead of the steps that need them, in parallel threads, and returns them in order."""

import collections
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

SIDE_BY_SIDE = 2
AHEAD = 4  # batches, in addition to those that are being read

_END = object()


def import_tensorflow():
    """Imports TensorFlow without its start-up messages, and hides the accelerators from it: JAX uses them."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')  # only affects TensorFlow's layers; logs a message if on
    import tensorflow as tf

    tf.get_logger().setLevel('ERROR')  # TFDS calls deprecated functions of TensorFlow
    for kind in ('GPU', 'TPU'):
        with contextlib.suppress(RuntimeError):  # the user's notebook has initialized the devices already
            tf.config.set_visible_devices([], kind)
    return tf


def read_ahead(requests: Iterable, read: Callable) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reads a batch for each request.

    Args:
      requests: iterated over in one thread, a few requests ahead.
      read: request → (images uint8 `(b, S, S, C)`, labels int32 `(b,)`); called in `SIDE_BY_SIDE` threads.

    Yields: the results of `read`, in the order of the requests. An exception of either is raised when its batch is due.
    """
    requests = iter(requests)
    ahead = collections.deque()
    asking, reading = ThreadPoolExecutor(1, 'requests'), ThreadPoolExecutor(SIDE_BY_SIDE, 'batches')

    def read_next(asked):
        request = asked.result()
        return _END if request is _END else read(request)

    try:
        while True:
            while len(ahead) < AHEAD + SIDE_BY_SIDE:
                ahead.append(reading.submit(read_next, asking.submit(next, requests, _END)))
            batch = ahead.popleft().result()
            if batch is _END:
                return
            yield batch
    finally:
        asking.shutdown(wait=False, cancel_futures=True)
        reading.shutdown(cancel_futures=True)
