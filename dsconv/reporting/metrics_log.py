"""Logs the metrics of a run: to `metrics.jsonl` for programs, and the same scalars to TensorBoard."""

import contextlib
import json
import math
import time
from pathlib import Path

from dsconv.errors import InputError
from dsconv.files import is_remote, make_directory, read_if_there, replace_file, to_path
from dsconv.reporting import event_file

FILE_NAME = 'metrics.jsonl'
SECONDS_BETWEEN_UPLOADS = 10  # each upload sends the whole file and blocks training


class MetricsLog(contextlib.ExitStack):
    """Appends to `workdir/metrics.jsonl`, one JSON object per line, and to TensorBoard event files in `workdir`.

    A resumed run repeats the steps after its checkpoint. Opening the log therefore drops every line with step >
    `restored_step`, and an incomplete last line after a crash. (Event files cannot be truncated.) In an object store,
    lines are uploaded every 10 seconds and by `flush`. Raises InputError if `metrics.jsonl` has another invalid line.
    """

    def __init__(self, workdir: str | Path, *, restored_step: int, tensorboard: bool = True, trackers=None):
        """Opens the log; `trackers`, a `trackers.Trackers` or None, gets the same scalars as TensorBoard."""
        super().__init__()
        workdir = to_path(workdir)
        make_directory(workdir)
        path = workdir / FILE_NAME
        kept = b''.join(line + b'\n' for line, metrics in _whole_lines(path) if metrics['step'] <= restored_step)
        if read_if_there(path) != kept:
            replace_file(path, kept)
        self._patience, self._flushed = SECONDS_BETWEEN_UPLOADS if is_remote(path) else 0, time.monotonic()
        self._events, self._trackers = None, trackers
        if tensorboard:
            self._events = self.enter_context((workdir / event_file.new_name()).open('wb'))
            self._events.write(event_file.first_event())
        self._file = self.enter_context(path.open('a', encoding='utf-8'))

    def write(self, *, step: int, epoch: float, split: str, **metrics: float) -> None:
        """Writes one line of metrics, non-finite values as null; their TensorBoard tags are `{split}/{name}`."""
        values = {name: float(value) for name, value in metrics.items()}
        line = {'step': int(step), 'epoch': float(epoch), 'split': split}
        line |= {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps(line, allow_nan=False) + '\n')
        scalars = {f'{split}/{name}': value for name, value in values.items()}
        if self._events:
            self._events.write(event_file.scalars_event(int(step), scalars))
        if self._trackers:
            self._trackers.write(int(step), scalars)
        if time.monotonic() - self._flushed >= self._patience:
            self.flush()

    def flush(self) -> None:
        """Saves every line written so far."""
        self._file.flush()
        if self._events:
            self._events.flush()
        self._flushed = time.monotonic()


def read_metrics(workdir: str | Path) -> list[dict]:
    """Reads all complete lines of `workdir/metrics.jsonl`; [] without a file. Raises InputError for an invalid line."""
    return [metrics for _, metrics in _whole_lines(to_path(workdir) / FILE_NAME)]


def _parsed(line: bytes) -> dict:
    """Parses a line; raises ValueError, TypeError or KeyError if `MetricsLog.write` cannot have written it."""
    metrics = json.loads(line)
    needed = ['step', 'epoch'] if metrics['split'] == 'train' else ['step', 'epoch', 'accuracy']
    numbers = [metrics[name] for name in needed]
    numbers += [value for name, value in metrics.items() if name != 'split' and value is not None]
    if not isinstance(metrics['split'], str) or not {type(value) for value in numbers} <= {int, float}:
        raise ValueError
    return metrics | {'step': int(metrics['step'])}


def _whole_lines(path: Path) -> list[tuple[bytes, dict]]:
    """Returns each complete line as bytes and as parsed metrics."""
    lines, whole = (read_if_there(path) or b'').splitlines(), []
    for number, line in enumerate(lines, start=1):
        try:
            whole.append((line, _parsed(line)))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            # A crash can truncate only the last line, and a truncated object never parses.
            if number < len(lines):
                raise InputError(f'{path}, line {number}: not a line of metrics. Repair or remove the file.') from error
    return whole
