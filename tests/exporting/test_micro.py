"""The memory that TensorFlow Lite Micro takes."""

import itertools

import pytest

from dsconv.exporting import micro


@pytest.mark.parametrize(
    ('spans', 'taken'),
    [
        ([(16, 0, 1), (16, 1, 2), (16, 2, 3)], 32),  # the third in the place of the first
        ([(16, 0, 1), (64, 1, 2), (32, 2, 3)], 96),  # 64 at 0, 32 behind it, 16 behind it too
        # Alive at once: at most 48. Largest first, 32 at 0 and then 16 at 32: the last finds room at 32 alone.
        ([(16, 0, 2), (16, 0, 0), (32, 1, 1), (32, 2, 3)], 48),
        # 80 at 0, 48 behind it, 32 at 0 and at 32 once the 80 is gone, 32 behind the 48, 16 behind all.
        ([(80, 1, 1), (16, 0, 4), (32, 2, 2), (32, 2, 4), (32, 2, 4), (48, 1, 2)], 176),
    ],
)
def test_the_arena_is_packed_the_largest_first_each_at_its_lowest_place(spans, taken):
    for order in itertools.permutations(spans):
        assert micro._greedy(list(order)) == taken
