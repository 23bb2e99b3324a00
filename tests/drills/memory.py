"""Measures resident memory over 3,040 steps with an evaluation every 19, with 160 checkpoints and with two.

At each save, Orbax reads TensorStore's counters, whose text TensorStore never frees: memory grows with the number of
checkpoints. Growth in the run with two checkpoints is dsconv's.
"""

import re
import statistics
from pathlib import Path

from tests.runs import STEPS_PER_EPOCH, command, finish, log, start, wait_for

EPOCHS = 160
WARM = 20  # evaluations after which everything has been compiled and allocated
TOLERANCE = 1.05


def drill(seed, directory):
    """Returns the megabytes after evaluation 1, 11, 21, … of both runs, and the ratio of the last to the first ones."""
    return {
        'steps': EPOCHS * STEPS_PER_EPOCH,
        'evaluations': EPOCHS,
        'with_160_checkpoints': _measure(directory / 'many', checkpoint_every=1),
        'with_2_checkpoints': _measure(directory / 'few', checkpoint_every=EPOCHS // 2),
    }


def _measure(workdir, checkpoint_every):
    process = start(
        command(workdir, f'--config.epochs={EPOCHS}', f'--config.checkpoint.every_epochs={checkpoint_every}')
    )
    megabytes = []
    while len(megabytes) < EPOCHS - 1:
        wait_for(lambda: log(workdir).count(b'"validation"') > len(megabytes), process)
        megabytes.append(_resident(process.pid))
    finish(process)
    first, last = statistics.median(megabytes[WARM : WARM + 10]), statistics.median(megabytes[-10:])
    assert last < first * TOLERANCE, f'from {first:.0f} to {last:.0f} MB'
    return {
        'megabytes': [round(value) for value in megabytes[::10]],
        'last_ten_evaluations_by_the_first_ten': round(last / first, 4),
    }


def _resident(pid):
    status = Path(f'/proc/{pid}/status').read_text()
    return int(re.search(r'VmRSS:\s+(\d+) kB', status)[1]) / 1000
