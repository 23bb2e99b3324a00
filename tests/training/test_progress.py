"""The share of time that the device waits for data and the time left, by a clock that the tests move."""

import re
import threading
import types

import jax
import numpy as np
import pytest

from dsconv.training import progress
from dsconv.training.mesh import make_mesh
from dsconv.training.state import Metrics
from tests.conftest import tiny_config


@pytest.fixture
def clock(monkeypatch):
    clock = types.SimpleNamespace(now=0.0)
    clock.perf_counter = lambda: clock.now
    monkeypatch.setattr(progress, 'time', clock)
    return clock


def start(devices=None, **changes):
    """The progress of a run of 40 steps in four epochs."""
    mesh = types.SimpleNamespace(local_devices=devices) if devices else make_mesh()
    training = types.SimpleNamespace(mesh=mesh, total_steps=40, steps_per_epoch=10, schedule=lambda step: 0.0)
    return progress.Progress(tiny_config(**changes), training, 0)


def state_at(step):
    return types.SimpleNamespace(step=step, metrics=Metrics.zeros(), nonfinite_steps=0)


@pytest.mark.parametrize(('every', 'steps'), [(10, 49), (50, 9)])  # resumed at step 45, from every 50 and every 10
def test_the_rate_of_a_skipped_step_is_right_if_a_resumed_run_has_other_intervals(every, steps, caplog):
    training = types.SimpleNamespace(mesh=make_mesh(), total_steps=1000, steps_per_epoch=1000, schedule=float)
    run = progress.Progress(tiny_config(log__every_steps=every, max_skipped_steps=1), training, 45)
    metrics = Metrics.zeros().replace(steps=np.int32(steps), nonfinite_step=np.int32(47))
    with caplog.at_level('WARNING', 'dsconv'):
        run.check(types.SimpleNamespace(step=50, metrics=metrics, nonfinite_steps=1))
    assert 'learning rate 46' in caplog.text


@pytest.mark.parametrize(('device_ends_after', 'share'), [(0, 1), (3, 0.4), (9, 0)])
def test_only_the_part_of_a_wait_in_which_the_device_has_nothing_to_do_counts(clock, device_ends_after, share):
    run, ended = start(), threading.Event()
    run.advance(1, state_at(1), np.float32(0))  # compiles
    run.advance(2, state_at(2), types.SimpleNamespace(block_until_ready=lambda: ended.wait(60)))
    seen = run._in_flight[-1]
    with run.waiting_for_input():
        clock.now += min(device_ends_after, 5)
        if device_ends_after <= 5:
            ended.set()
            seen.result(60)
        clock.now += 5 - min(device_ends_after, 5)
    ended.set()
    assert run.summarise(2, state_at(2))['input_wait_fraction'] == pytest.approx(share)
    run._in_flight[-1].result(60)
    with run.waiting_for_input():  # of the next line of the log
        clock.now += 1
    clock.now += 3
    run.advance(3, state_at(3), np.float32(0))
    assert run.summarise(3, state_at(3))['input_wait_fraction'] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ('every', 'epoch', 'lengths'),
    [(50, 375, [50] * 7 + [25]), (50, 374, [50] * 6 + [74]), (50, 20, [20]), (1, 3, [1, 1, 1])],
)
def test_the_lines_of_the_log_average_whole_intervals_or_at_least_half_of_one(every, epoch, lengths):
    intervals = [progress.log_interval(step, every, epoch) for step in range(2 * epoch)]
    assert all(first <= step < last for step, (first, last) in enumerate(intervals))
    assert [last - first for first, last in sorted(set(intervals))] == 2 * lengths


def test_the_time_left_counts_what_is_evaluated_but_not_what_is_compiled(clock, caplog):
    """Four epochs of 10 steps of a second; an evaluation takes 3 seconds, the first one 30."""
    caplog.set_level('INFO')
    device = types.SimpleNamespace(memory_stats=lambda: {'bytes_in_use': 5})
    run = start([device], log__every_steps=10)
    for step in range(1, 41):
        clock.now += 100 if step == 1 else 1  # the first one compiles
        state = state_at(step)
        run.advance(step, state, np.float32(0))
        if step % 10 == 0:
            assert run.summarise(step, state)['device_bytes_in_use'] == 5
            with run.paused():
                clock.now += 30 if step == 10 else 3
    lines = [re.search(r'step (\d+)/40.*, (.*) left', line).groups() for line in caplog.messages]
    assert [(int(step), left) for step, left in lines] == [
        (4, '0 min 36 s'), (10, '0 min 30 s'), (20, '0 min 20 s'), (30, '0 min 13 s'), (40, '0 min 0 s'),
    ]  # fmt: skip


def test_more_than_an_hour_is_told_in_hours_and_minutes():
    assert [progress._duration(seconds) for seconds in (59.6, 3_725)] == ['1 min 0 s', '1 h 2 min']


def test_no_rate_counts_the_compilation_of_a_shorter_dispatch(clock):
    run, rates = start(batch_size=64), []
    for step, seconds in ((4, 104), (8, 4), (10, 102), (14, 4), (18, 4), (20, 2)):
        clock.now += seconds
        run.advance(step, state_at(step), np.float32(0))
        if step % 10 == 0:
            rates.append(run.summarise(step, state_at(step)).get('images_per_second'))
    assert rates == [None, 64]


@pytest.mark.parametrize(
    ('dispatches', 'message'), [(2, 'no step was traced'), (3, 'no step'), (4, 'the steps 31 to 40')]
)
def test_a_trace_that_the_end_of_the_run_cuts_short_is_told_as_what_it_is(
    monkeypatch, tmp_path, caplog, dispatches, message
):
    calls = []
    monkeypatch.setattr(jax.profiler, 'start_trace', lambda *_, **__: calls.append('start'))
    monkeypatch.setattr(jax.profiler, 'stop_trace', lambda: calls.append('stop'))
    with caplog.at_level('INFO', 'dsconv'), progress.Trace(tmp_path, 50) as trace:
        for dispatch in range(1, dispatches + 1):
            trace.advance(10 * dispatch, np.float32(0))
    assert [message in line for line in caplog.messages] == [True]
    assert calls == (['start', 'stop'] if dispatches > 2 else [])
