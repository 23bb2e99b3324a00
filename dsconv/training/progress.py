"""The progress of a run: averages and rates for the log, a status line, and a trace of some steps."""

import collections
import contextlib
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax

from dsconv.errors import RunError
from dsconv.training.memory import device_memory

logger = logging.getLogger('dsconv')
SECONDS_BETWEEN_LINES = 10
SECONDS_BEFORE_FIRST_LINE = 2
DISPATCHES_IN_FLIGHT = 2
DISPATCHES_OF_WARM_UP = 3  # before a trace: the first dispatch compiles, and the input pipeline fills


def log_interval(step: int, every_steps: int, steps_per_epoch: int) -> tuple[int, int]:
    """Returns (first, last): the log line that covers the step after `step` averages the steps first + 1 … last.

    An epoch is divided into intervals of `every_steps`. A remainder at its end is a separate interval if it is at least
    half as long; otherwise it is merged into the interval before it.
    """
    epoch, position = divmod(step, steps_per_epoch)
    whole, left = divmod(steps_per_epoch, every_steps)
    intervals = max(1, whole + (2 * left >= every_steps))
    index = min(position // every_steps, intervals - 1)
    end = steps_per_epoch if index == intervals - 1 else (index + 1) * every_steps
    return epoch * steps_per_epoch + index * every_steps, epoch * steps_per_epoch + end


class Progress:
    """Times the steps of a run, without compilation, evaluation and saving, in windows: one per line of the log."""

    def __init__(self, config, training, first_step: int):
        self._config, self._training = config, training
        self._window_step = self._shown_step = first_step
        self._in_flight = collections.deque()  # for each dispatch, a future of the time at which the device finished
        self._watch = ThreadPoolExecutor(1, thread_name_prefix='device')
        self._compiled = set()  # numbers of steps per dispatch: each number needs a separate program
        self._dispatched = first_step
        self._skipped = 0
        self._waited = self._seconds_a_step = 0.0
        self._epoch_ends = []  # (step, time) of the first two ends of epochs
        self._in_all = None  # seconds per step with evaluation and saving, from the third end on
        self._window_start = self._shown = time.perf_counter()

    @contextlib.contextmanager
    def waiting_for_input(self):
        """Wraps the fetch of the next batches; measures how long the device is idle during it."""
        start = time.perf_counter()
        yield
        end = time.perf_counter()
        if self._in_flight and self._in_flight[-1].done():  # else the device is still busy
            self._waited += max(0.0, end - max(start, self._in_flight[-1].result()))

    @contextlib.contextmanager
    def paused(self):
        """Wraps work that is not training; its time is not counted."""
        start = time.perf_counter()
        yield
        pause = time.perf_counter() - start
        self._window_start, self._shown = self._window_start + pause, self._shown + pause

    def advance(self, step: int, state, loss) -> None:
        """Records a dispatch, which ends `step` steps into the run; shows a line every few seconds.

        Waits while more than `DISPATCHES_IN_FLIGHT` dispatches are pending, so that the host is not far ahead.
        """
        self._in_flight.append(self._watch.submit(_moment_of, loss))
        if len(self._in_flight) > DISPATCHES_IN_FLIGHT:
            self._in_flight.popleft().result()
        length, self._dispatched = step - self._dispatched, step
        if length not in self._compiled:
            jax.block_until_ready(state)
            self._compiled.add(length)
            self._waited = 0.0
            self._window_start, self._window_step = time.perf_counter(), step
            self._shown = self._window_start - SECONDS_BETWEEN_LINES + SECONDS_BEFORE_FIRST_LINE
        if time.perf_counter() - self._shown > SECONDS_BETWEEN_LINES:
            self._show(step, self._averages(state))

    def check(self, state):
        """Returns the metrics, on the host; raises RunError if more than `max_skipped_steps` steps were not finite."""
        metrics = jax.device_get(state.metrics)
        if not (step := int(metrics.nonfinite_step)):
            return metrics
        count, allowed = int(state.nonfinite_steps), self._config.max_skipped_steps
        last = int(state.step)
        skipped_since_line = last - self._interval(last - 1)[0] - int(metrics.steps)
        skipped_since_line = min(max(skipped_since_line, 1), count)  # a resumed run may have different intervals
        fault = (
            f'step {step}: loss {metrics.nonfinite_loss:.4g}, gradient norm {metrics.nonfinite_grad_norm:.4g}, '
            f'learning rate {self._learning_rate(step, count - skipped_since_line):.3g}'
        )
        if count > allowed:
            raise RunError(
                f'{fault}: not finite; the last checkpoint is unchanged: resume with a higher '
                f'--config.max_skipped_steps (now {allowed}), or start in a new workdir with a lower '
                f'schedule.peak_value or with optimizer.clip_norm'
            )
        if count > self._skipped:
            logger.warning('%s: step skipped (%d of at most %d)', fault, count, allowed)
        self._skipped = count
        return metrics

    def summarise(self, step: int, state) -> dict[str, float]:
        """Returns averages and rates of the window that ends at `step`; starts the next window. Raises as `check`."""
        averages = self._averages(state)
        seconds = time.perf_counter() - self._window_start
        steps = step - self._window_step
        if steps:  # 0 if compilation took the whole window
            self._seconds_a_step = seconds / steps
            averages['images_per_second'] = steps * self._config.batch_size / seconds
            averages['input_wait_fraction'] = self._waited / seconds
        if step % self._training.steps_per_epoch == 0:
            now = time.perf_counter()
            if len(self._epoch_ends) < 2:  # the first evaluation, which is compiled, is before the second end
                self._epoch_ends.append((step, now))
            else:
                settled_step, settled = self._epoch_ends[1]
                self._in_all = (now - settled) / (step - settled_step)
            self._show(step, averages)
        self._window_start, self._window_step, self._waited = time.perf_counter(), step, 0.0
        learning_rate = self._learning_rate(step, int(state.nonfinite_steps))
        return averages | {'learning_rate': learning_rate} | device_memory(self._training.mesh)

    def next_line(self, step: int) -> int:
        """Returns the first step after `step` that ends a line of the log."""
        return self._interval(step)[1]

    def _interval(self, step):
        return log_interval(step, self._config.log.every_steps, self._training.steps_per_epoch)

    def _learning_rate(self, step, skipped):
        """Returns the learning rate of step `step`, counted from 1; the schedule does not count skipped steps."""
        return float(self._training.schedule(max(0, step - 1 - skipped)))

    def _averages(self, state) -> dict[str, float]:
        metrics = self.check(state)
        steps = int(metrics.steps) or math.nan  # NaN if every step was skipped
        return {name: float(getattr(metrics, name)) / steps for name in ('loss', 'accuracy', 'grad_norm')}

    def _show(self, step, averages):
        if step == self._shown_step:
            return
        self._shown, self._shown_step = time.perf_counter(), step
        steps = step - self._window_step
        seconds_a_step = (self._shown - self._window_start) / steps if steps else self._seconds_a_step
        epoch, total = (step - 1) // self._training.steps_per_epoch + 1, self._training.total_steps
        line = f'epoch {epoch}/{self._config.epochs}, step {step}/{total}: loss {averages["loss"]:.4f}'
        line += f', accuracy {100 * averages["accuracy"]:.2f} %'
        if seconds_a_step:
            left = _duration((total - step) * (self._in_all or seconds_a_step))
            line += f', {self._config.batch_size / seconds_a_step:,.0f} images/s, {left} left'
        logger.info(line)


def _moment_of(loss) -> float:
    """Waits until the device has computed `loss`; returns the time at which it was ready."""
    jax.block_until_ready(loss)
    return time.perf_counter()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {seconds} s'


class Trace(contextlib.AbstractContextManager):
    """Traces `steps` steps after the warm-up, or none if it is 0; a context manager around the training loop.

    Process 0 writes the trace, for TensorBoard and ui.perfetto.dev, into `directory/plugins/profile/<time>`, even if
    the run ends before the trace is complete.
    """

    def __init__(self, directory: Path, steps: int):
        self._directory, self._steps = directory, 0 if jax.process_index() else steps
        self._dispatches, self._first, self._last = 0, None, None

    def advance(self, step: int, state) -> None:
        """Starts or ends the trace after a dispatch, which ends `step` steps into the run."""
        self._dispatches, self._last = self._dispatches + 1, step
        if not self._steps:
            return
        if self._dispatches == DISPATCHES_OF_WARM_UP:
            jax.block_until_ready(state)
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # otherwise every call in Python would be an event, and slow
            jax.profiler.start_trace(self._directory, create_perfetto_trace=True, profiler_options=options)
            self._first = step
        elif self._first is not None and step - self._first >= self._steps:
            jax.block_until_ready(state)
            self._end()

    def __exit__(self, *_):
        if self._steps:
            self._end()

    def _end(self):
        self._steps = 0
        if self._first is not None:
            jax.profiler.stop_trace()
        if self._first in (None, self._last):
            logger.warning('no step was traced: the run ended in its first %d dispatches', DISPATCHES_OF_WARM_UP)
        else:
            logger.info('trace of the steps %d to %d: %s', self._first + 1, self._last, self._directory)
