"""Damages each file of the newest checkpoint in six ways. A run may resume from it or the one before only."""

import collections
import random
import shutil
from pathlib import Path

import jax

from dsconv import config as configuration
from dsconv.errors import InputError
from dsconv.training.checkpoint import Checkpoints
from dsconv.training.checksums import checksums
from dsconv.training.setup import build_training, open_data
from tests.runs import command, finish, last_state, start, steps


def drill(seed, directory):
    """Returns the number of cases by kind of damage and restored state."""
    workdir = directory / 'run'
    finish(start(command(workdir, '--config.optimizer.ema_decay=0.9')))
    shape = _shape(workdir)
    older, newest = steps(workdir)[-2:]
    expected = {step: _restored(workdir, step, shape) for step in (older, newest)}
    chance, count = random.Random(seed), collections.Counter()
    files = [file.relative_to(workdir) for file in _files(workdir / 'checkpoints' / str(newest))]
    cases = [(file, *kind) for file in files for kind in KINDS.items()]
    cases += [(Path('checkpoints', str(newest)), *kind) for kind in WHOLE.items()]
    for path, kind, damage in cases:
        copy = _copy_of(workdir)
        damage(copy / path, chance)
        step = _taken(copy, shape, expected, f'{path} {kind}')
        count[f'{kind}: {"noticed" if step == older else "without effect"}'] += 1
    said = _command_after_damage(_copy_of(workdir), newest)
    return {'files': len(files), 'cases': count.total(), 'what_came': dict(sorted(count.items())), 'the_run_says': said}


def _flip(file, chance):
    content = bytearray(file.read_bytes())
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


KINDS = {
    'truncated': lambda file, chance: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    'emptied': lambda file, chance: file.write_bytes(b''),
    'zeroed': lambda file, chance: file.write_bytes(bytes(file.stat().st_size)),
    'bit flipped': _flip,
    'lengthened': lambda file, chance: file.write_bytes(file.read_bytes() + chance.randbytes(16)),
    'deleted': lambda file, chance: file.unlink(),
}


def _replace_by_older(step, chance):
    older = step.parent / str(steps(step.parent.parent)[-2])
    shutil.rmtree(step)
    shutil.copytree(older, step)


WHOLE = {
    'an empty directory named like a step': lambda step, chance: step.with_name('999').mkdir(),
    'a leftover temporary': lambda step, chance: shutil.copytree(step, step.with_name('999.orbax-checkpoint-tmp')),
    'a copy of the older': _replace_by_older,
    'a file instead': lambda step, chance: [shutil.rmtree(step), step.write_bytes(b'')],
    'another directory': lambda step, chance: step.with_name('notes').mkdir(),
}


def _files(directory):
    return sorted(path for path in directory.rglob('*') if path.is_file())


def _copy_of(workdir):
    copy = workdir.with_name('copy')
    shutil.rmtree(copy, ignore_errors=True)
    return shutil.copytree(workdir, copy)


def _shape(workdir):
    _, train_split, config = open_data(configuration.load_run(workdir))
    training = build_training(config, train_split.num_examples)
    return jax.eval_shape(training.new_state)


def _restored(workdir, step, shape):
    """Returns the checksums of the state at `step` in an undamaged workdir."""
    copy = _copy_of(workdir)
    for other in steps(copy):
        if other > step:
            shutil.rmtree(copy / 'checkpoints' / str(other))
    with Checkpoints(copy) as checkpoints:
        return checksums(checkpoints.restore_newest(shape))


def _taken(workdir, shape, expected, what):
    """Returns the step that the run resumes from; its state must be unchanged, and damaged files must still exist."""
    before = {(file.name, file.read_bytes()) for file in _files(workdir / 'checkpoints')}
    try:
        with Checkpoints(workdir) as checkpoints:
            state = checkpoints.restore_newest(shape)
    except InputError as error:
        raise AssertionError(f'{what}: {error}') from error
    assert state is not None, f'{what}: nothing was restored'
    step = int(state.step)
    assert checksums(state) == expected[step], f'{what}: a wrong state of step {step} was restored'
    after = {(file.name, file.read_bytes()) for file in _files(workdir)}
    assert before <= after, f'{what}: a file was lost'
    return step


def _command_after_damage(workdir, newest):
    """Damages the newest checkpoint and runs the command again; returns the log lines about the damage."""
    undamaged = last_state(workdir)
    KINDS['truncated'](workdir / 'checkpoints' / str(newest) / 'model' / 'manifest.ocdbt', random)
    errors = finish(start(command(workdir, '--config.optimizer.ema_decay=0.9')))
    assert f'resuming from step {steps(workdir)[-2]}' in errors, errors
    assert last_state(workdir) == undamaged, 'the last epoch, trained again, ends in another state'
    return [line.replace(str(workdir), 'DIR') for line in errors.splitlines() if 'damaged' in line]
