"""Peak memory of `predict` on 2,000 and on 20,000 pictures of 24×24 pixels, into a table."""

import csv
import os
import subprocess
import sys
import time

import numpy as np
from PIL import Image

from dsconv import config as configuration
from tests.runs import command, finish, start

COUNTS = (2_000, 20_000)
ALLOWED = 100  # megabytes that the greater number may take more


def drill(seed, directory):
    """Returns the peaks in megabytes, and the pictures a second of the greater number."""
    finish(start(command(directory / 'run', '--config.epochs=1', '--config.schedule.warmup_epochs=0')))
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24), np.uint8)
    for number in range(COUNTS[-1]):
        folder = directory / 'pictures' / ('few' if number < COUNTS[0] else 'more')
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(pixels, number)).save(folder / f'{number:05d}.png')
    (directory / 'pictures' / 'few' / '00007.png').write_bytes(b'broken')
    few, _ = _measure(directory, directory / 'pictures' / 'few', COUNTS[0])
    more, seconds = _measure(directory, directory / 'pictures', COUNTS[1])
    assert more - few < ALLOWED, f'{few:.0f} and {more:.0f} MB'
    return {
        'pictures': COUNTS,
        'peak_megabytes': [round(few), round(more)],
        'pictures_per_second_with_the_start': round(COUNTS[1] / seconds),
    }


def _measure(directory, pictures, count):
    """Returns the process's peak of resident memory in megabytes and its seconds."""
    file, began = directory / 'answers.csv', time.monotonic()
    line = ['-m', 'dsconv.predict', f'--workdir={directory / "run"}', f'--output={file}', str(pictures)]
    process = subprocess.Popen(
        [sys.executable, *line], cwd=configuration.ROOT, env=os.environ | {'JAX_PLATFORMS': 'cpu'}
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    rows = list(csv.DictReader(file.open()))
    assert process.returncode == 2 and len(rows) == count and sum(bool(row['error']) for row in rows) == 1
    return usage.ru_maxrss / 1000, time.monotonic() - began
