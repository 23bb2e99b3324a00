"""The tf.data pipeline: batches read side by side and in order, ahead of the step that needs them."""

import atexit
import contextlib
import os
import weakref
from collections.abc import Callable, Iterator

import numpy as np

SIDE_BY_SIDE = 2
AHEAD = 4  # batches

_open = weakref.WeakSet()


def import_tensorflow():
    """Imports TensorFlow without its start-up messages, and leaves the accelerators to JAX."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')  # concerns layers, which are JAX's here, and is announced
    import tensorflow as tf

    tf.get_logger().setLevel('ERROR')  # TFDS itself calls what TensorFlow calls deprecated
    for kind in ('GPU', 'TPU'):
        with contextlib.suppress(RuntimeError):  # the person's notebook has used them already
            tf.config.set_visible_devices([], kind)
    return tf


def read_ahead(requests, read: Callable) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reads a batch for each request, and prefetches a few.

    Args:
      requests: a `tf.data.Dataset` of tensors or tuples of them, or a `range`.
      read: a request, as NumPy arrays → (images uint8 `(b, S, S, C)`, labels int32 `(b,)`).

    Yields: what `read` returned, in the order of the requests. What `read` raises arrives at its batch.
    """
    batches = _read_ahead(requests, read)
    _open.add(batches)
    return batches


@atexit.register
def _close_all() -> None:
    """Closes open pipelines: Python could not exit while tf.data waits for threads that wait for Python."""
    for batches in list(_open):
        batches.close()


def _read_ahead(requests, read):
    tf = import_tensorflow()
    if isinstance(requests, range):
        requests = tf.data.Dataset.range(requests.start, requests.stop, requests.step)
    failures = []

    def attempt(*request):
        try:
            return read(*request)
        except Exception as error:
            failures.append(error)
            raise

    def batch(*request):
        return tf.numpy_function(attempt, request, (tf.uint8, tf.int32))

    batches = requests.map(batch, num_parallel_calls=SIDE_BY_SIDE, deterministic=True).prefetch(AHEAD)
    try:
        yield from batches.as_numpy_iterator()
    except tf.errors.OpError as error:
        raise failures[0] if failures else error from None
