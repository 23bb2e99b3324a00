import time

from dsconv.data.threads import map_threads


def test_order_is_kept_whatever_finishes_first():
    def slow_first(i):
        time.sleep(0.02 if i == 0 else 0)
        return i * i

    assert list(map_threads(slow_first, range(50))) == [i * i for i in range(50)]
