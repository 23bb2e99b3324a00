"""Compares two and four processes with one; kills one of four and checks how the others exit."""

import signal
import subprocess
import time

from tests.runs import command, finish, last_state, metrics, several, start, wait_for

BOUND = 90  # seconds in which the other processes must exit
LONGER = '--config.epochs=40'


def drill(seed, directory):
    """Returns the largest relative difference of the losses, and the time until the others exited after each kill."""
    finish(start(command(directory / 'one')))
    differences = {}
    for count in (2, 4):
        finish(start(several(count, directory / str(count))))
        differences[count] = _difference(directory / 'one', directory / str(count))
        assert differences[count] < 1e-3, f'{count} processes: losses differ by {differences[count]}'
    lost = {f'process {victim} of 4': _lose(victim, directory / f'lost-{victim}') for victim in (0, seed % 3 + 1)}
    return {'largest_relative_difference_of_losses': differences, 'killed': lost}


def _difference(one, other):
    alone, together = metrics(one), metrics(other)
    assert [line['step'] for line in alone] == [line['step'] for line in together], 'other lines of the log'
    return max(abs(a['loss'] - b['loss']) / a['loss'] for a, b in zip(alone, together, strict=True))


def _lose(victim, workdir):
    launcher = start(several(4, workdir, LONGER))
    wait_for(lambda: (workdir / 'checkpoints' / '19').exists(), launcher)
    began = time.monotonic()
    subprocess.run(['pkill', '-KILL', '-P', str(launcher.pid), '-f', '--', f'--process-id={victim}'], check=True)
    errors = finish(launcher, 1)
    seconds = time.monotonic() - began
    assert seconds < BOUND, f'the others took {seconds} s to leave'
    saved = last_state(workdir)[0]
    again = start(several(4, workdir, LONGER))
    wait_for(lambda: last_state(workdir)[0] > saved, again)
    again.send_signal(signal.SIGTERM)
    finish(again, 75)
    own = [line for line in errors.splitlines() if line.startswith(('another process', f'process {victim}'))]
    return {'seconds': round(seconds, 1), 'said': sorted(set(own)), 'then_went_on_from': saved}
