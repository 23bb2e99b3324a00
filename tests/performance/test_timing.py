import pytest

from dsconv.performance.timing import in_turn, median_ratio, seconds_of_calls, seconds_per_call


class Clock:
    """Moves on when it is told to."""

    now = 0.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds


@pytest.mark.parametrize(('seconds', 'calls'), [(0, 1), (1, 4)])
def test_calls_until_the_time_has_passed(seconds, calls):
    clock, made = Clock(), []
    assert seconds_per_call(lambda: made.append(clock.spend(0.25)), seconds, clock) == 0.25
    assert len(made) == calls


def test_each_call_has_its_seconds():
    clock, spent = Clock(), iter([0.25, 4, 0.5])
    assert seconds_of_calls(lambda: clock.spend(next(spent)), 3, clock) == [0.25, 4, 0.5]


def test_measures_take_turns():
    order = []
    measures = {name: lambda name=name: order.append(name) or len(order) for name in 'ab'}
    assert in_turn(measures, 3) == {'a': [1, 3, 5], 'b': [2, 4, 6]}
    assert ''.join(order) == 'ababab'


def test_the_median_is_of_the_rounds_ratios():
    # A slow spell in the second round: its ratio is as the others', which that of the medians is not.
    assert median_ratio([10, 1, 12], [5, 0.5, 4]) == 2
    with pytest.raises(ValueError):
        median_ratio([1, 2], [1])
