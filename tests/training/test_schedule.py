import numpy as np
import pytest

from dsconv.config import load
from dsconv.errors import InputError
from dsconv.training.optimizer import SCHEDULES, make_schedule

START, PEAK, END = 1e-5, 0.01, 5e-5
WARMUP, TOTAL = 40, 241  # the last step is 240, the middle of the decay 140


def options(name='exponential', **changes):
    return {'name': name, 'init_value': START, 'peak_value': PEAK, 'end_value': END} | changes


@pytest.mark.parametrize(
    ('name', 'up', 'down'),
    [
        ('exponential', lambda x: x, lambda x: np.log(PEAK * (END / PEAK) ** x)),
        ('cosine', lambda x: x, lambda x: (1 + np.cos(np.pi * x)) / 2),
        ('linear', lambda x: x, lambda x: 1 - x),
        ('one_cycle', lambda x: (1 - np.cos(np.pi * x)) / 2, lambda x: (1 + np.cos(np.pi * x)) / 2),
    ],
)
def test_a_quarter_of_the_way(name, up, down):
    schedule = make_schedule(options(name), WARMUP, TOTAL)
    expected = np.exp(down(0.25)) if name == 'exponential' else END + (PEAK - END) * down(0.25)
    assert schedule(WARMUP + 50) == pytest.approx(expected, rel=1e-3)
    assert schedule(WARMUP // 4) == pytest.approx(START + (PEAK - START) * up(0.25), rel=1e-3)


def test_the_run_of_the_thesis():
    schedule = make_schedule(options(), warmup_steps=485, total_steps=29_100)  # 300 epochs of 97 steps
    assert [schedule(step) for step in (0, 485, 29_099)] == pytest.approx([START, PEAK, END], rel=1e-4)


@pytest.mark.parametrize('name', SCHEDULES)
def test_the_ends(name):
    schedule = make_schedule(options(name), warmup_steps=0, total_steps=10)
    assert [schedule(0), schedule(9)] == pytest.approx([PEAK, END], rel=1e-4)
    assert make_schedule(options(name), warmup_steps=0, total_steps=1)(0) == pytest.approx(PEAK, rel=1e-6)
    assert make_schedule(options(name, init_value=0.0), warmup_steps=3, total_steps=9)(0) == pytest.approx(0, abs=1e-9)


def test_all_but_the_exponential_may_end_at_nothing():
    for name in SCHEDULES.keys() - {'exponential'}:
        assert make_schedule(options(name, end_value=0.0), WARMUP, TOTAL)(TOTAL - 1) == pytest.approx(0, abs=1e-9)
    assert load('configs/small.py', ['schedule.name=cosine', 'schedule.end_value=0']).schedule.end_value == 0
    with pytest.raises(InputError, match='^schedule.end_value=0.0 is never reached exponentially; take schedule.name='):
        load('configs/small.py', ['schedule.end_value=0'])
