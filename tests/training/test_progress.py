"""The share of time that the device waits for data, by a clock that moves when the source or the device moves it."""

import re
import threading
import types

import numpy as np
import pytest

from dsconv.data import read_ahead
from dsconv.data.splits import Split
from dsconv.data.stream import StreamedSplit
from dsconv.errors import RunError
from dsconv.training import loop, progress
from dsconv.training.mesh import make_mesh
from dsconv.training.state import Metrics
from tests.conftest import tiny_config

STEPS, BATCH = 6, 8
PATIENCE = 60  # seconds of the real clock, for what is broken


class World:
    """The clock, the device's one second a step, and a source that takes `read_seconds` a batch once it is asked."""

    def __init__(self, read_seconds):
        self.now, self.read_seconds = 0.0, read_seconds
        self.asked, self.losses = threading.Semaphore(0), []
        config = tiny_config(batch_size=BATCH)
        training = types.SimpleNamespace(
            mesh=make_mesh(), total_steps=STEPS, steps_per_epoch=STEPS, schedule=lambda step: 0.0
        )
        self.parts, self.progress = (config, training), progress.Progress(config, training, 0)

    def perf_counter(self):
        return self.now

    def read(self):
        """Where the source reads a batch: while it does, the device ends the step before."""
        if not self.read_seconds:
            return
        assert self.asked.acquire(timeout=PATIENCE)
        if self.losses:
            self.now += 1
            self.losses[-1].ended.set()
            self.progress._in_flight[-1].result(PATIENCE)  # until it has been seen
        self.now += self.read_seconds - bool(self.losses)

    def train(self, split):
        """Six steps as `loop.train` makes them; the line of the log."""
        state = types.SimpleNamespace(step=0, metrics=Metrics.zeros(), nonfinite_steps=0)
        for step, _ in loop.dispatches(*self.parts, split, 0, self):
            self.losses.append(Loss(self))
            self.progress.advance(step, state, self.losses[-1])
        return self.progress.summarise(step, state)

    def next_line(self, step):
        return self.progress.next_line(step)

    def waiting_for_input(self):
        waiting = self.progress.waiting_for_input()

        class Waiting:
            def __enter__(_):
                waiting.__enter__()
                self.asked.release()

            def __exit__(_, *exception):
                return waiting.__exit__(*exception)

        return Waiting()


class Loss:
    """Is computed when the source says so, or, where the source takes no time, after a second."""

    def __init__(self, world):
        self.world, self.ended = world, threading.Event()

    def block_until_ready(self):
        if self.world.read_seconds:
            assert self.ended.wait(PATIENCE)
        else:
            self.world.now += 1
        return self


def in_memory(world):
    def images(indices):
        world.read()
        return np.zeros((len(indices), 2, 2, 1), np.uint8)

    return Split(np.zeros(STEPS * BATCH, np.int32), images, in_memory=True)


def streamed(world):
    tf = pytest.importorskip('tensorflow')
    count = STEPS * BATCH
    examples = tf.data.Dataset.from_tensor_slices({'image': [b''] * count, 'label': np.zeros(count, np.int64)})

    def decode(encoded, labels, draw):
        world.read()
        return np.zeros((len(encoded), 2, 2, 1), np.uint8), labels.astype(np.int32)

    return StreamedSplit(lambda seed, positioned: examples, decode, lambda: None, count, 1000, 'test')


@pytest.fixture
def begin(monkeypatch):
    def world(read_seconds):
        made = World(read_seconds)
        monkeypatch.setattr(progress, 'time', made)
        monkeypatch.setattr(read_ahead, 'SIDE_BY_SIDE', 1)  # batches are then asked for and read one by one
        return made

    return world


@pytest.mark.parametrize('source', [in_memory, streamed])
def test_a_slow_source_is_waited_for_only_while_the_device_has_nothing_to_do(begin, source):
    world = begin(read_seconds=3)
    assert world.train(source(world))['input_wait_fraction'] == pytest.approx(2 / 3)


@pytest.mark.parametrize('source', [in_memory, streamed])
def test_a_fast_source_is_not_waited_for(begin, source):
    world = begin(read_seconds=0)
    assert world.train(source(world))['input_wait_fraction'] == 0


@pytest.mark.parametrize(
    ('every', 'epoch', 'lengths'),
    [
        (50, 351, [50] * 6 + [51]),
        (50, 375, [50] * 7 + [25]),
        (50, 374, [50] * 6 + [74]),
        (7, 19, [7, 7, 5]),
        (50, 20, [20]),
        (1, 3, [1, 1, 1]),
    ],
)
def test_the_lines_of_the_log_average_whole_intervals_or_at_least_half_of_one(every, epoch, lengths):
    intervals = [progress.log_interval(step, every, epoch) for step in range(2 * epoch)]
    assert all(first <= step < last for step, (first, last) in enumerate(intervals))
    assert [last - first for first, last in sorted(set(intervals))] == 2 * lengths


def test_without_leave_to_skip_one_step_that_is_not_finite_ends_the_run(begin):
    world = begin(read_seconds=0)
    metrics = Metrics.zeros().replace(steps=2, nonfinite_step=2, nonfinite_loss=np.inf, nonfinite_grad_norm=np.nan)
    with pytest.raises(RunError, match='step 2: loss inf, gradient norm nan, learning rate 0: not finite'):
        world.progress.check(types.SimpleNamespace(step=3, metrics=metrics, nonfinite_steps=1))


def test_a_wait_behind_a_busy_device_costs_nothing(begin):
    world = begin(read_seconds=3)
    state, loss = types.SimpleNamespace(step=0, metrics=Metrics.zeros(), nonfinite_steps=0), Loss(world)
    world.progress.advance(1, state, Loss(world))
    world.progress.advance(2, state, loss)
    with world.progress.waiting_for_input():
        world.now += 5
    assert world.progress.summarise(2, state)['input_wait_fraction'] == 0
    loss.ended.set()


def test_the_time_left_counts_what_is_evaluated_but_not_what_is_compiled(begin, caplog):
    """Four epochs of 10 steps of a second; an evaluation takes 3 seconds, the first one 30."""
    world = begin(read_seconds=0)
    caplog.set_level('INFO')
    told = types.SimpleNamespace(memory_stats=lambda: {'bytes_in_use': 5})
    training = types.SimpleNamespace(
        mesh=types.SimpleNamespace(local_devices=[told]), total_steps=40, steps_per_epoch=10, schedule=lambda step: 0.0
    )
    run = progress.Progress(tiny_config(log__every_steps=10), training, 0)
    for step in range(1, 41):
        world.now += 100 if step == 1 else 1  # the first one compiles
        state = types.SimpleNamespace(step=step, metrics=Metrics.zeros(), nonfinite_steps=0)
        run.advance(step, state, np.float32(0))
        if step % 10 == 0:
            assert run.summarise(step, state)['device_bytes_in_use'] == 5
            with run.paused():
                world.now += 30 if step == 10 else 3
    lines = [re.search(r'step (\d+)/40.*, (.*) left', line).groups() for line in caplog.messages]
    assert lines == [
        ('4', '0 min 36 s'),
        ('10', '0 min 30 s'),
        ('20', '0 min 20 s'),
        ('30', '0 min 13 s'),
        ('40', '0 min 0 s'),
    ]
