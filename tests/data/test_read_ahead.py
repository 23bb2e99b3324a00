import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from dsconv.config import ROOT
from dsconv.data.read_ahead import AHEAD, SIDE_BY_SIDE, read_ahead
from dsconv.data.threads import map_threads
from dsconv.errors import InputError


def batch(number):
    return np.full((2, 1, 1, 1), number, np.uint8), np.full(2, number, np.int32)


def test_order_is_kept_whatever_finishes_first():
    def slow_first(number):
        time.sleep(0.05 if number == 3 else 0)
        return batch(sum(map_threads(int, [number])))

    assert [labels[0] for _, labels in read_ahead(range(3, 50, 2), slow_first)] == list(range(3, 50, 2))


def test_reads_ahead_but_not_further():
    begun = []

    def read(number):
        begun.append(number)
        return batch(number)

    batches = read_ahead(range(100), read)
    next(batches)
    time.sleep(0.3)
    assert 1 < len(begun) <= 1 + AHEAD + 2 * SIDE_BY_SIDE


def test_what_reading_raises_arrives_at_its_batch():
    def read(number):
        if number == 2:
            raise InputError('picture 2 is damaged')
        return batch(number)

    batches = read_ahead(range(5), read)
    assert [next(batches)[1][0], next(batches)[1][0]] == [0, 1]
    with pytest.raises(InputError, match='picture 2 is damaged'):
        next(batches)


def test_python_ends_while_batches_are_being_read():
    script = """
import time
import numpy as np
from dsconv.config import ROOT
from dsconv.data.read_ahead import read_ahead

def read(number):
    time.sleep(0.3)
    return np.zeros((2, 1, 1, 1), np.uint8), np.zeros(2, np.int32)

batches = read_ahead(range(1000), read)
next(batches)
"""
    subprocess.run([sys.executable, '-c', script], cwd=ROOT, check=True, timeout=120)  # it hung for ever


def test_requests_may_be_tuples_of_tensors():
    requests = tf.data.Dataset.from_tensor_slices(([b'1', b'2'], [10, 20]))
    assert [labels[0] for _, labels in read_ahead(requests, lambda text, n: batch(int(text) + n))] == [11, 22]
