import time

import numpy as np
import pytest

from dsconv.data.read_ahead import AHEAD, SIDE_BY_SIDE, read_ahead
from dsconv.data.threads import map_threads
from dsconv.errors import InputError
from tests.commands import python


def test_order_is_kept_a_few_are_read_ahead_and_what_is_raised_arrives_at_its_batch():
    begun = []

    def read(number):
        begun.append(number)
        time.sleep(0.05 if number == 3 else 0)
        if number == 45:
            raise InputError('picture 45 is damaged')
        return np.zeros((2, 1, 1, 1), np.uint8), np.full(2, sum(map_threads(int, [number])), np.int32)

    batches = read_ahead(range(3, 100, 2), read)
    assert [next(batches)[1][0] for _ in range(10)] == list(range(3, 23, 2))
    time.sleep(0.2)
    assert 10 < len(begun) <= 10 + AHEAD + 2 * SIDE_BY_SIDE
    assert [next(batches)[1][0] for _ in range(11)] == list(range(23, 45, 2))
    with pytest.raises(InputError, match='picture 45 is damaged'):
        next(batches)


def test_python_ends_while_batches_are_being_read():
    script = (
        'import time\n'
        'from dsconv.data.read_ahead import read_ahead\n'
        'next(read_ahead(range(1000), lambda number: time.sleep(0.3) or (number, number)))\n'
    )
    assert python('-c', script).returncode == 0  # it hung
