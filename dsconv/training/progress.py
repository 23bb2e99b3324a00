"""The progress of a run: averages and rates for the log, and a line to watch."""

import collections
import contextlib
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor

import jax

from dsconv.errors import RunError
from dsconv.training.memory import device_memory

logger = logging.getLogger('dsconv')
SECONDS_BETWEEN_LINES = 10
SECONDS_BEFORE_FIRST_LINE = 2
DISPATCHES_IN_FLIGHT = 2


def log_interval(step: int, every_steps: int, steps_per_epoch: int) -> tuple[int, int]:
    """Returns (first, last): a line of the log that averages the step after `step` averages the steps first + 1 … last.

    An epoch is cut into intervals of `every_steps`. What is left at its end is an interval of its own where it is at
    least half as long, and joins the one before otherwise.
    """
    epoch, position = divmod(step, steps_per_epoch)
    whole, left = divmod(steps_per_epoch, every_steps)
    intervals = max(1, whole + (2 * left >= every_steps))
    index = min(position // every_steps, intervals - 1)
    end = steps_per_epoch if index == intervals - 1 else (index + 1) * every_steps
    return epoch * steps_per_epoch + index * every_steps, epoch * steps_per_epoch + end


class Progress:
    """Times the steps of a run, without compilation, evaluation and saving. A window is the steps since the
    last line.
    """

    def __init__(self, config, training, first_step: int):
        self._config, self._training = config, training
        self._window_step = self._shown_step = first_step
        self._in_flight = collections.deque()  # for each dispatch a future of the moment at which the device was done
        self._watch = ThreadPoolExecutor(1, thread_name_prefix='device')
        self._compiled = False
        self._skipped = 0
        self._waited = self._seconds_a_step = self._paused = self._paused_a_step = 0.0
        self._epoch_ends = []  # up to two (step, seconds paused by then)
        self._window_start = self._shown = time.perf_counter()

    @contextlib.contextmanager
    def waiting_for_input(self):
        """Wraps the fetch of the next batches; times the part of it in which the device was idle."""
        start = time.perf_counter()
        yield
        end = time.perf_counter()
        if self._in_flight and self._in_flight[-1].done():  # else the device is still busy
            self._waited += max(0.0, end - max(start, self._in_flight[-1].result()))

    @contextlib.contextmanager
    def paused(self):
        """Wraps what is not training; its time is left out."""
        start = time.perf_counter()
        yield
        pause = time.perf_counter() - start
        self._window_start, self._shown = self._window_start + pause, self._shown + pause
        self._paused += pause

    def advance(self, step: int, state, loss) -> None:
        """Is called after each dispatch, `step` steps into the run. Shows a line every few seconds.

        Waits for the loss of the dispatch before the last: the host is ahead of the device by enough to keep it busy.
        """
        self._in_flight.append(self._watch.submit(_moment_of, loss))
        if len(self._in_flight) > DISPATCHES_IN_FLIGHT:
            self._in_flight.popleft().result()
        if not self._compiled:
            jax.block_until_ready(state)
            self._compiled, self._waited = True, 0.0
            self._window_start, self._window_step = time.perf_counter(), step
            self._shown = self._window_start - SECONDS_BETWEEN_LINES + SECONDS_BEFORE_FIRST_LINE
        if time.perf_counter() - self._shown > SECONDS_BETWEEN_LINES:
            self._show(step, self._averages(state))

    def check(self, state):
        """Returns the state's metrics, on the host. Warns of steps that were skipped.

        Raises RunError where more than `max_skipped_steps` had a loss or gradient that was not finite.
        """
        metrics = jax.device_get(state.metrics)
        if not (step := int(metrics.nonfinite_step)):
            return metrics
        count, allowed = int(state.nonfinite_steps), self._config.max_skipped_steps
        last = int(state.step)
        skipped_since_line = last - self._interval(last - 1)[0] - int(metrics.steps)
        fault = (
            f'step {step}: loss {metrics.nonfinite_loss:.4g}, gradient norm {metrics.nonfinite_grad_norm:.4g}, '
            f'learning rate {self._learning_rate(step, count - skipped_since_line):.3g}'
        )
        if count > allowed:
            raise RunError(
                f'{fault}: not finite; the last checkpoint is as it was: lower schedule.peak_value, set '
                f'optimizer.clip_norm, or max_skipped_steps ({allowed}), in a new workdir'
            )
        if count > self._skipped:
            logger.warning('%s: left out (%d of at most %d)', fault, count, allowed)
        self._skipped = count
        return metrics

    def summarise(self, step: int, state) -> dict[str, float]:
        """Returns the averages and rates of the window that ends at `step`, and starts the next one. Raises as `check`.

        `learning_rate` is that of the last step that was not skipped.
        """
        averages = self._averages(state)
        seconds = time.perf_counter() - self._window_start
        steps = step - self._window_step
        if steps:  # none when compilation took up the whole window
            self._seconds_a_step = seconds / steps
            averages['images_per_second'] = steps * self._config.batch_size / seconds
            averages['input_wait_fraction'] = self._waited / seconds
        if step % self._training.steps_per_epoch == 0:
            self._measure_pauses(step)
            self._show(step, averages)
        self._window_start, self._window_step, self._waited = time.perf_counter(), step, 0.0
        learning_rate = self._learning_rate(step, int(state.nonfinite_steps))
        return averages | {'learning_rate': learning_rate} | device_memory(self._training.mesh)

    def _measure_pauses(self, step):
        """Counts evaluation and saving into the time that is left, without what compiles in the first of them."""
        if len(self._epoch_ends) < 2:
            self._epoch_ends.append((step, self._paused))
        else:
            settled_step, settled = self._epoch_ends[1]
            self._paused_a_step = (self._paused - settled) / (step - settled_step)

    def next_line(self, step: int) -> int:
        """Returns the first step after `step` that ends a line of the log."""
        return self._interval(step)[1]

    def _interval(self, step):
        return log_interval(step, self._config.log.every_steps, self._training.steps_per_epoch)

    def _learning_rate(self, step, skipped):
        """Returns that of step `step`, counted from 1: the schedule counts the steps that were not skipped."""
        return float(self._training.schedule(max(0, step - 1 - skipped)))

    def _averages(self, state) -> dict[str, float]:
        metrics = self.check(state)
        steps = int(metrics.steps) or math.nan  # every step was skipped
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
            left = _duration((total - step) * (seconds_a_step + self._paused_a_step))
            line += f', {self._config.batch_size / seconds_a_step:,.0f} images/s, {left} left'
        logger.info(line)


def _moment_of(loss) -> float:
    """Waits until the device has computed `loss`; returns when that was."""
    jax.block_until_ready(loss)
    return time.perf_counter()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {seconds} s'
