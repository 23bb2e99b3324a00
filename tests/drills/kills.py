"""One run, killed thirty times at random moments, compared with an uninterrupted one."""

import collections
import random
import signal
import subprocess
import time

from tests.runs import command, finish, last_state, log, metrics, start, steps, wait_for

KILLS = 30
EPOCHS = '--config.epochs=100'
LONGEST_START = 4.0  # seconds
MOST_LINES = 10  # lines of the log (three or four per epoch) that a run may write before it is killed


def drill(seed, directory):
    """Returns what the kills hit; raises AssertionError if anything differs from the uninterrupted run."""
    chance = random.Random(seed)
    finish(start(command(directory / 'undisturbed', EPOCHS)))
    workdir, hit = directory / 'killed', collections.Counter()
    for _ in range(KILLS):
        moment = chance.choice((_during_the_start, _during_the_training, _during_the_training, _during_a_save))
        process = start(command(workdir, EPOCHS), stdout=subprocess.DEVNULL)
        moment(workdir, process, chance)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, 'the run ended before the kill'
        hit[moment.__name__.strip('_')] += 1
        hit['left_an_unfinished_save'] += any(workdir.glob('checkpoints/*tmp*'))
        hit['left_a_torn_line'] += bool(log(workdir)) and not log(workdir).endswith(b'\n')
    trained = steps(workdir)[-1]
    finish(start(command(workdir, EPOCHS)))
    assert metrics(workdir) == metrics(directory / 'undisturbed'), 'metrics.jsonl differs'
    assert last_state(workdir) == last_state(directory / 'undisturbed'), 'the last state differs'
    return {
        'kills': KILLS,
        **dict(sorted(hit.items())),
        'step_at_the_last_kill': trained,
        'last_step': last_state(workdir)[0],
        'lines_of_metrics': len(metrics(workdir)),
        'same_bits': True,
    }


def _during_the_start(workdir, process, chance):
    time.sleep(chance.uniform(0, LONGEST_START))


def _during_the_training(workdir, process, chance):
    goal = log(workdir).count(b'\n') + chance.randint(1, MOST_LINES)
    process.stderr.readline()  # before this line, the run truncates the log to the checkpoint
    wait_for(lambda: log(workdir).count(b'\n') >= goal, process)
    time.sleep(chance.uniform(0, 0.2))


def _during_a_save(workdir, process, chance):
    process.stderr.readline()
    before = set(workdir.glob('checkpoints/*tmp*'))
    wait_for(lambda: set(workdir.glob('checkpoints/*tmp*')) - before, process)
    time.sleep(chance.uniform(0, 0.1))
