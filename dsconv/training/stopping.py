"""Reasons to stop: SIGTERM (notice of preemption), SIGINT (Ctrl-C), a validation accuracy that stops improving."""

import collections
import logging
import os
import signal
import socket
import threading

import jax
import jax.numpy as jnp
import numpy as np

from dsconv.errors import Preempted
from dsconv.training.mesh import replicated, to_global

logger = logging.getLogger('dsconv')
SIGNALS = (signal.SIGTERM, signal.SIGINT)
DISPATCHES_BEHIND = 2  # the delay of an answer, so that no process waits for the others


class Patience:
    """Detects when the validation accuracy has not risen for `eval.patience` evaluations, if that is set."""

    def __init__(self, config, metrics: list[dict], step: int):
        """Replays the evaluations up to `step` from the run's log, as if the run had not been interrupted."""
        self._patience = config.eval.patience
        self._best, self._waited = -1.0, 0
        for line in metrics:
            if line.get('split') == 'validation' and line['step'] <= step:
                self.add(line['accuracy'])

    @property
    def is_over(self) -> bool:
        return self._patience is not None and self._waited >= self._patience

    def add(self, accuracy: float) -> bool:
        """Adds an evaluation's accuracy; returns whether to save: it is a new highest, and `eval.patience` is set."""
        is_higher = accuracy > self._best
        self._best, self._waited = max(self._best, accuracy), 0 if is_higher else self._waited + 1
        return is_higher and self._patience is not None

    def __str__(self):
        return f'no validation accuracy above {self._best:.2%} in {self._waited} evaluations (eval.patience)'


class StopRequest:
    """A context manager around the training loop in which SIGTERM and SIGINT request a stop and do not end the process.

    This also holds if the process was started with SIGINT ignored. A SIGINT after either signal ends the process at
    once. In a thread other than the main thread, signal handling is unchanged.
    """

    def __init__(self, mesh):
        self._asked = threading.Event()
        self._answers = collections.deque()
        self._mesh = mesh
        self._anywhere = jax.jit(jnp.any, out_shardings=replicated(mesh)) if jax.process_count() > 1 else None

    def reached(self) -> bool:
        """Returns whether to stop now: the same in all processes, which exchange requests after every dispatch."""
        if self._anywhere is None:
            return self._asked.is_set()
        self._answers.append(self._ask())
        return len(self._answers) > DISPATCHES_BEHIND and bool(self._answers.popleft())

    def _ask(self):
        asked = np.full(self._mesh.local_mesh.size, self._asked.is_set())
        return self._anywhere(to_global(self._mesh, asked))

    def __enter__(self):
        self._handlers = None
        if threading.current_thread() is threading.main_thread():
            # Python runs its handlers only between two bytecode instructions. A compilation can delay that for a
            # minute; the byte that each signal writes here arrives at once.
            self._reader, writer = socket.socketpair()
            writer.setblocking(False)
            self._writer, self._former_writer = writer, signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            self._handlers = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
            threading.Thread(target=self._listen, name='signals', daemon=True).start()
        return self

    def __exit__(self, *exception):
        if self._handlers is None:
            return
        is_over, is_alone = exception[0] is None, self._anywhere is None
        # A request during one of the last dispatches, whose answers `reached` did not wait for.
        is_asked = is_over and not is_alone and bool(self._ask())
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former_writer)
        self._writer.close()
        if is_asked or is_over and is_alone and self._asked.is_set():
            raise Preempted('stopped after the last step')

    def _listen(self):
        while number := self._reader.recv(1):
            if number[0] == signal.SIGINT and self._asked.is_set():
                os._exit(128 + signal.SIGINT)
            if number[0] in SIGNALS:
                self._asked.set()
                logger.info('stopping after this step; Ctrl-C now ends the run at once, without saving')
        self._reader.close()
