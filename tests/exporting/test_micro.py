"""The memory that TensorFlow Lite Micro takes."""

import itertools

import numpy as np
import pytest

from dsconv.exporting import micro


@pytest.mark.parametrize(
    ('spans', 'taken'),
    [
        ([(16, 0, 1), (16, 1, 2), (16, 2, 3)], 32),  # the third in the place of the first
        ([(16, 0, 1), (64, 1, 2), (32, 2, 3)], 96),  # 64 at 0, 32 behind it, 16 behind it too
        # Alive at once: at most 48. Largest first, 32 at 0 and then 16 at 32: the last finds room at 32 alone.
        ([(16, 0, 2), (16, 0, 0), (32, 1, 1), (32, 2, 3)], 48),
    ],
)
def test_the_arena_is_packed_the_largest_first_each_at_its_lowest_place(spans, taken):
    for order in itertools.permutations(spans):
        assert micro._greedy(list(order)) == taken


def test_an_arena_is_never_less_than_what_is_alive_at_once():
    generator = np.random.default_rng(0)
    for _ in range(100):
        spans = [(16 * int(size), *sorted(map(int, steps))) for size, *steps in generator.integers(1, 9, (12, 3))]
        alive = max(sum(size for size, first, last in spans if first <= step <= last) for step in range(10))
        assert alive <= micro._greedy(spans) <= sum(size for size, *_ in spans)
