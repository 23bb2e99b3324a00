import time

from dsconv.data.threads import attempt, map_threads
from dsconv.errors import InputError


def test_order_is_kept_whatever_finishes_first_and_errors_are_results():
    def slow_first(i):
        time.sleep(0.02 if i == 0 else 0)
        if i == 3:
            raise InputError('three')
        return i * i

    results = list(map_threads(attempt(slow_first), range(50)))
    assert str(results.pop(3)) == 'three' and results == [i * i for i in range(50) if i != 3]
