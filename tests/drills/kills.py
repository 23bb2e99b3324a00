"""One run, killed thirty times at random moments, against one that nobody disturbed."""

import random
import signal
import subprocess
import time

from tests.runs import command, finish, last_state, metrics, start, steps

KILLS = 30
EPOCHS = '--config.epochs=80'
LONGEST = 2.5  # seconds of training before a kill
DURING_THE_START = 0.2  # share of the kills that come before any training


def drill(seed, directory):
    """Returns what the kills hit; an AssertionError says what is not as in the undisturbed run."""
    chance = random.Random(seed)
    finish(start(command(directory / 'undisturbed', EPOCHS)))
    workdir = directory / 'killed'
    hit = {'kills': 0, 'during_the_start': 0, 'during_a_save': 0, 'torn_lines': 0, 'checkpoints_at_the_last_kill': None}
    while hit['kills'] < KILLS:
        early = chance.random() < DURING_THE_START
        if not _kill_one(workdir, chance, early):
            raise AssertionError(f'the run ended after {hit["kills"]} kills: too soon')
        hit['kills'] += 1
        hit['during_the_start'] += early
        hit['during_a_save'] += any(workdir.glob('checkpoints/*tmp*'))
        log = workdir / 'metrics.jsonl'
        hit['torn_lines'] += log.exists() and not f'\n{log.read_text()}'.endswith('\n')
    hit['checkpoints_at_the_last_kill'] = steps(workdir)
    finish(start(command(workdir, EPOCHS)))
    assert metrics(workdir) == metrics(directory / 'undisturbed'), 'metrics.jsonl differs'
    assert last_state(workdir) == last_state(directory / 'undisturbed'), 'the last state differs'
    return hit | {'lines_of_metrics': len(metrics(workdir)), 'last_step': last_state(workdir)[0], 'same_bits': True}


def _kill_one(workdir, chance, early) -> bool:
    """Starts the run and kills it; whether it was still going."""
    process = start(command(workdir, EPOCHS), stdout=subprocess.DEVNULL)
    if not early:
        process.stderr.readline()  # what it will train: a second before the first step
    time.sleep(chance.uniform(0, LONGEST))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL
