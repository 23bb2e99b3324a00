import time

import pytest

from dsconv.data.threads import map_threads, prefetch


def test_order_is_kept_whatever_finishes_first():
    def slow_first(i):
        time.sleep(0.02 if i == 0 else 0)
        return i * i

    assert list(map_threads(slow_first, range(50))) == [i * i for i in range(50)]
    assert list(prefetch(slow_first, range(50))) == [i * i for i in range(50)]
    assert list(prefetch(lambda i: sum(map_threads(slow_first, range(i))), range(5))) == [0, 0, 1, 5, 14]


def test_reads_ahead_but_not_further():
    done = []
    results = prefetch(done.append, range(100), ahead=3)
    next(results)
    time.sleep(0.1)
    assert len(done) == 4
    results.close()


def test_an_exception_arrives_at_its_item():
    results = prefetch(lambda i: 1 // (2 - i), range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
