"""Paired measurement: a busy machine slows whatever runs at the time, so what is compared is measured in turn."""

import statistics
import time
from collections.abc import Callable


def seconds_per_call(function: Callable, seconds: float, clock: Callable = time.perf_counter) -> float:
    """Calls `function()` until `seconds` have passed by `clock`, at least once; returns the mean seconds of a call."""
    start, calls = clock(), 0
    while True:
        function()
        calls += 1
        passed = clock() - start
        if passed >= seconds:
            return passed / calls


def in_turn(measures: dict[str, Callable], rounds: int) -> dict[str, list]:
    """Takes every measure once a round, one after the other; returns name → values, round by round."""
    values = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            values[name].append(measure())
    return values


def median_ratio(these: list[float], those: list[float]) -> float:
    """Returns the median of this ÷ that of the same round."""
    return statistics.median(this / that for this, that in zip(these, those, strict=True))
