"""Paired measurement: functions to compare are measured in turn, so that load on the machine slows all of them."""

import statistics
import time
from collections.abc import Callable


def seconds_per_call(function: Callable, seconds: float, clock: Callable = time.perf_counter) -> float:
    """Calls `function()` at least once, until `seconds` have passed by `clock`; returns the mean seconds per call."""
    start, calls = clock(), 0
    while True:
        function()
        calls += 1
        passed = clock() - start
        if passed >= seconds:
            return passed / calls


def in_turn(measures: dict[str, Callable], rounds: int) -> dict[str, list]:
    """Calls every measure once per round, one after the other; returns name → values, one per round."""
    values = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            values[name].append(measure())
    return values


def median_ratio(these: list[float], those: list[float]) -> float:
    """Returns the median over the rounds of `these` ÷ `those`."""
    return statistics.median(this / that for this, that in zip(these, those, strict=True))
