"""Resident memory of a run of 3,040 steps with an evaluation and a checkpoint every 19."""

import re
import statistics
from pathlib import Path

from tests.runs import STEPS_PER_EPOCH, command, finish, start, wait_for

EPOCHS = 160
WARM = 20  # evaluations after which everything has been compiled and allocated
TOLERANCE = 1.05


def drill(seed, directory):
    """Returns the megabytes after each tenth evaluation, and the last ones against the first ones."""
    workdir = directory / 'run'
    process = start(command(workdir, f'--config.epochs={EPOCHS}'))
    megabytes = []
    while len(megabytes) < EPOCHS - 1:
        wait_for(lambda: _evaluations(workdir) > len(megabytes), process)
        megabytes.append(_resident(process.pid))
    finish(process)
    first, last = statistics.median(megabytes[WARM : WARM + 10]), statistics.median(megabytes[-10:])
    assert last < first * TOLERANCE, f'from {first:.0f} to {last:.0f} MB'
    return {
        'steps': EPOCHS * STEPS_PER_EPOCH,
        'evaluations': EPOCHS,
        'megabytes': [round(value) for value in megabytes[::10]],
        'last_ten_evaluations_by_the_first_ten': round(last / first, 4),
    }


def _evaluations(workdir):
    log = workdir / 'metrics.jsonl'
    return log.read_text().count('"validation"') if log.exists() else 0


def _resident(pid):
    status = Path(f'/proc/{pid}/status').read_text()
    return int(re.search(r'VmRSS:\s+(\d+) kB', status)[1]) / 1000
