"""How a run is going: rates and averages for the log, and a line that a person can watch."""

import collections
import contextlib
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor

import jax

from dsconv.errors import RunError

logger = logging.getLogger('dsconv')
SECONDS_BETWEEN_LINES = 10
DISPATCHES_IN_FLIGHT = 2


class Progress:
    """Times the steps of a run, apart from compilation, evaluation and saving.

    A window is the steps since the last line of the log.
    """

    def __init__(self, config, training, first_step: int):
        self._config, self._training = config, training
        self._window_step = self._shown_step = first_step
        self._in_flight = collections.deque()  # for each dispatch a future of the moment at which the device was done
        self._watch = ThreadPoolExecutor(1, thread_name_prefix='device')
        self._compiled = False
        self._skipped = 0
        self._waited = self._seconds_a_step = 0.0
        self._window_start = self._shown = time.perf_counter()

    @contextlib.contextmanager
    def waiting_for_input(self):
        """Around the fetch of the next batches: times the part of it in which the device had nothing left to do."""
        start = time.perf_counter()
        yield
        end = time.perf_counter()
        if self._in_flight and self._in_flight[-1].done():  # else it is still busy: nothing was lost
            self._waited += max(0.0, end - max(start, self._in_flight[-1].result()))

    @contextlib.contextmanager
    def paused(self):
        """Around what is not training."""
        start = time.perf_counter()
        yield
        pause = time.perf_counter() - start
        self._window_start, self._shown = self._window_start + pause, self._shown + pause

    def advance(self, step: int, state, loss) -> None:
        """After each dispatch, `step` steps into the run: shows a line every few seconds.

        Waits for the loss of the dispatch before the last, so that the host is ahead of the device by just enough to
        keep it busy, and batches do not pile up.
        """
        self._in_flight.append(self._watch.submit(_moment_of, loss))
        if len(self._in_flight) > DISPATCHES_IN_FLIGHT:
            self._in_flight.popleft().result()
        if not self._compiled:
            jax.block_until_ready(state)
            self._compiled, self._waited = True, 0.0
            self._window_start, self._window_step = time.perf_counter(), step
        if time.perf_counter() - self._shown > SECONDS_BETWEEN_LINES:
            self._show(step, self._averages(state))

    def check(self, state):
        """The state's metrics, on the host. Warns of steps that were left out.

        Raises:
          RunError: more steps than `max_skipped_steps` had a loss or gradient that was not finite.
        """
        metrics = jax.device_get(state.metrics)
        if not (step := int(metrics.nonfinite_step)):
            return metrics
        count, allowed = int(state.nonfinite_steps), self._config.max_skipped_steps
        fault = (
            f'step {step}: loss {metrics.nonfinite_loss:.4g}, gradient norm {metrics.nonfinite_grad_norm:.4g}, '
            f'learning rate {float(self._training.schedule(step - 1)):.3g}'
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
        """The averages and rates of the window that ends at `step`; starts the next one. Raises RunError as `check`."""
        averages = self._averages(state)
        seconds = time.perf_counter() - self._window_start
        steps = step - self._window_step
        if steps:  # none when compilation took up the whole window
            self._seconds_a_step = seconds / steps
            averages['images_per_second'] = steps * self._config.batch_size / seconds
            averages['input_wait_fraction'] = self._waited / seconds
        if step % self._training.steps_per_epoch == 0:
            self._show(step, averages)
        self._window_start, self._window_step, self._waited = time.perf_counter(), step, 0.0
        return averages | {'learning_rate': float(self._training.schedule(step - 1))}

    def show_scores(self, split: str, scores: dict) -> None:
        """A line for an evaluation."""
        logger.info('  %s: loss %.4f, accuracy %.2f %%', split, scores['loss'], 100 * scores['accuracy'])

    def _averages(self, state) -> dict[str, float]:
        metrics = self.check(state)
        steps = int(metrics.steps) or math.nan  # nothing to tell of where every step was left out
        return {name: float(getattr(metrics, name)) / steps for name in ('loss', 'accuracy', 'grad_norm')}

    def _show(self, step, averages):
        if step == self._shown_step:
            return
        self._shown, self._shown_step = time.perf_counter(), step
        steps = step - self._window_step
        seconds_a_step = (self._shown - self._window_start) / steps if steps else self._seconds_a_step
        epoch = (step - 1) // self._training.steps_per_epoch + 1
        logger.info(
            'epoch %d/%d, step %d/%d: loss %.4f, accuracy %.2f %%%s',
            epoch,
            self._config.epochs,
            step,
            self._training.total_steps,
            averages['loss'],
            100 * averages['accuracy'],
            self._pace(step, seconds_a_step),
        )

    def _pace(self, step, seconds_a_step):
        if not seconds_a_step:
            return ''
        left = _duration((self._training.total_steps - step) * seconds_a_step)
        return f', {self._config.batch_size / seconds_a_step:,.0f} images/s, {left} left'


def _moment_of(loss) -> float:
    """Waits until the device has computed `loss`; when that was."""
    jax.block_until_ready(loss)
    return time.perf_counter()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {seconds} s'
