import itertools

import pytest

from dsconv.performance.timing import seconds_per_call


@pytest.mark.parametrize(('seconds', 'calls'), [(0, 1), (1, 4)])
def test_calls_until_the_time_has_passed(seconds, calls):
    clock, made = itertools.count(0, 0.25).__next__, []
    assert seconds_per_call(lambda: made.append(None), seconds, clock) == 0.25
    assert len(made) == calls
