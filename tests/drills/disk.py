"""Fills a small file system while a run saves, logs and reports, or makes it read-only; then makes room again."""

import contextlib
import subprocess
import sys

from tests.runs import command, finish, last_state, metrics, start, steps, wait_for

PLENTY = '64m'
# With these flags, a line of the log reaches the full disk before a checkpoint does.
CHATTY = ('--config.log.every_steps=1', '--config.epochs=30', '--config.checkpoint.every_epochs=10')


def drill(seed, directory):
    """Returns the last line that the user sees in each case."""
    finish(start(command(directory / 'undisturbed')))
    finish(start(command(directory / 'chatty', *CHATTY)))
    said = {}
    for kilobytes in (40, 200, 300, 400):
        with _small_disk(directory / 'small', f'{kilobytes}k') as disk:
            said[f'a disk of {kilobytes} kB'] = _last_line(start(command(disk / 'run')), 1)
            _goes_on(disk, directory / 'undisturbed')
    with _small_disk(directory / 'small', PLENTY) as disk:
        said['full when a checkpoint is saved'] = _filled_up(disk, directory / 'undisturbed')
    with _small_disk(directory / 'small', PLENTY) as disk:
        said['full when the log is written'] = _filled_up(disk, directory / 'chatty', *CHATTY)
    with _small_disk(directory / 'small', PLENTY) as disk:
        finish(start(command(disk / 'run')))
        said['a report on a full disk'] = _report_on_full_disk(disk)
        _mount(disk, 'remount,ro')
        said['a read-only workdir'] = _last_line(start(command(disk / 'run', '--config.epochs=4')), 2)
        said['a report on a read-only disk'] = _last_line(start(_evaluate(disk / 'run')), 2)
        _mount(disk, 'remount,rw')
        assert last_state(disk / 'run') == last_state(directory / 'undisturbed'), 'the last state changed'
    return {'said': {case: line.replace(str(directory), 'DIR') for case, line in said.items()}, 'same_bits': True}


def _filled_up(disk, undisturbed, *flags):
    workdir = disk / 'run'
    process = start(command(workdir, *flags))
    wait_for(lambda: (workdir / 'checkpoints').exists() and steps(workdir), process)
    _fill(disk)
    line = _last_line(process, 1)
    assert steps(workdir), 'the last good checkpoint is gone'
    (disk / 'filler').unlink()
    _goes_on(disk, undisturbed, *flags)
    return line


def _goes_on(disk, undisturbed, *flags):
    workdir = disk / 'run'
    _mount(disk, f'remount,size={PLENTY}')
    finish(start(command(workdir, *flags)))
    assert metrics(workdir) == metrics(undisturbed), 'metrics.jsonl differs after the resume'
    assert last_state(workdir) == last_state(undisturbed), 'the last state differs after the resume'


def _report_on_full_disk(disk):
    report = (disk / 'run' / 'report' / 'report.json').read_bytes()
    _fill(disk)
    line = _last_line(start(_evaluate(disk / 'run')), 1)
    assert (disk / 'run' / 'report' / 'report.json').read_bytes() == report, 'the old report is gone'
    (disk / 'filler').unlink()
    return line


def _evaluate(workdir):
    return [sys.executable, '-m', 'dsconv.evaluate', f'--workdir={workdir}']


def _last_line(process, code):
    errors = finish(process, code)
    assert 'Traceback' not in errors, errors
    return errors.splitlines()[-1]


def _fill(disk):
    with contextlib.suppress(OSError), (disk / 'filler').open('wb') as file:
        while True:
            file.write(bytes(2**16))
            file.flush()


@contextlib.contextmanager
def _small_disk(place, size):
    place.mkdir(exist_ok=True)
    _mount(place, f'size={size}')
    try:
        yield place
    finally:
        subprocess.run(['umount', '-l', place], check=True)


def _mount(place, options):
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', place], capture_output=True, text=True)
    assert done.returncode == 0, f'mount -o {options}: {done.stderr.strip()} (this drill needs Linux and root)'
