"""A trace of some training steps: what the host and the devices did when, for TensorBoard and Perfetto."""

import logging
from pathlib import Path

import jax

logger = logging.getLogger('dsconv')
DISPATCHES_OF_WARM_UP = 3  # the first one compiles, and the feed fills


class Trace:
    """A context manager around the training loop that traces `steps` steps after the warm-up; none where it is 0.

    Process 0 alone writes, into `directory/plugins/profile/<time>`: `<host>.xplane.pb` for TensorBoard,
    `perfetto_trace.json.gz` for ui.perfetto.dev. A trace that the run's end cuts short is written, too.
    """

    def __init__(self, directory: Path, steps: int):
        self._directory, self._steps = directory, 0 if jax.process_index() else steps
        self._dispatches, self._first = 0, None

    def __enter__(self):
        return self

    def advance(self, step: int, state) -> None:
        """Is called after each dispatch, `step` steps into the run."""
        self._dispatches, self._last = self._dispatches + 1, step
        if not self._steps:
            return
        if self._first is None and self._dispatches == DISPATCHES_OF_WARM_UP:
            jax.block_until_ready(state)
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # each call of Python would be an event, and slow
            jax.profiler.start_trace(self._directory, create_perfetto_trace=True, profiler_options=options)
            self._first = step
        elif self._first is not None and step - self._first >= self._steps:
            jax.block_until_ready(state)
            self._write()

    def __exit__(self, *_):
        if self._steps and self._first is None:
            logger.warning('no trace was written: the run ended in the %d steps of its warm-up', self._dispatches)
        elif self._steps:
            self._write()

    def _write(self):
        jax.profiler.stop_trace()
        self._steps = 0
        logger.info('trace of the steps %d to %d: %s', self._first + 1, self._last, self._directory)
