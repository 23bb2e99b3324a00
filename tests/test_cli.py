import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsconv import cli, config, main
from dsconv.errors import InputError, RunError

PROGRAM = 'python -m dsconv.main: error: '


def run(capsys, line, command):
    """Runs a command in this process; returns its exit code, stdout and stderr."""
    code = 0
    try:
        cli.run(main.flags(), command, arguments=line)
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def refusal(capsys, line):
    """The one line that a person sees, up to the checks of the config."""

    def load(arguments):
        config.load(arguments.config, arguments.overrides)

    code, output, errors = run(capsys, line, load)
    assert code == 2
    assert output == ''
    assert errors.startswith(PROGRAM)
    assert errors.endswith('\n')
    assert errors.count('\n') == 1
    return errors.removeprefix(PROGRAM).strip()


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ([], 'the following arguments are required: --config'),
        (['--config'], 'argument --config: expected one argument'),
        (['--wrokdir=x'], 'unrecognized argument --wrokdir; did you mean --workdir?'),
        (['--config=x', '--epochs=12'], 'unrecognized argument --epochs; did you mean --config.epochs?'),
        (['--b1', '3'], 'unrecognized argument --b1; did you mean --config.optimizer.b1?'),
        (['--config=x', '--std=1'], 'unrecognized argument --std; did you mean --config.dataset.std?'),
        (['--cofnig=configs/small.py'], 'unrecognized argument --cofnig; did you mean --config?'),
        (['--cofnig.model.dim=3'], 'unrecognized argument --cofnig.model.dim; did you mean --config'),
        (['--config=configs/small.py', '--conf=x'], 'unrecognized argument --conf; did you mean --config?'),
        (['--config=configs/small.py', '-workdir', 'x'], 'unrecognized argument -workdir; did you mean --workdir?'),
        (['--config=configs/small.py', '--zzz'], 'unrecognized argument --zzz; --help lists what there is'),
        (['--config=configs/small.py', 'extra\nword'], 'unrecognized argument extra word; --help lists what there is'),
        (['--config=configs/small.py', '--num-processes=x'], "argument --num-processes: invalid int value: 'x'"),
        (['--config=configs/small.py', '--workdir'], 'argument --workdir: expected one argument'),
        (
            ['--config=configs/smal.py'],
            '--config=configs/smal.py: there is no such file; did you mean configs/small.py?',
        ),
        (['--config=a\nb.py'], '--config=a b.py: there is no such file; '),
        (
            ['--config=configs/small.py', '--config.model.dimm=3'],
            '--config.model.dimm=3: there is no such key; did you mean model.dim?',
        ),
        (['--config=configs/small.py', '--config.epochs'], '--config.epochs needs a value: --config.epochs=VALUE'),
        (
            ['--config=configs/small.py', '--config.epochs', '--config.seed=3'],
            '--config.epochs needs a value: --config.epochs=VALUE',
        ),
        (['--config=configs/small.py', '--config.epochs', '-3'], 'epochs=-3 must be in [1, 1000000]'),
        (['--config=configs/small.py', '--config.epochs=a\nb'], r"--config.epochs='a\nb' must be a whole number"),
        (['--config=configs/small.py', '--config.epochs=\udcff'], r"--config.epochs='\udcff' must be a whole number"),
    ],
)
def test_wrong_lines(capsys, line, message):
    assert refusal(capsys, line).startswith(message)


@pytest.mark.parametrize(
    'words', [['--config.model.dim=64', '--config.seed=-0'], ['--config.model.dim', '64', '--config.seed', '-0']]
)
def test_overrides_with_and_without_an_equals_sign(capsys, words):
    seen = []
    line = [*words, '--config=configs/small.py', '--workdir', 'x']
    assert run(capsys, line, seen.append) == (0, '', '')
    assert seen[0].overrides == ['model.dim=64', 'seed=-0']
    assert (seen[0].config, seen[0].workdir) == ('configs/small.py', Path('x'))


def test_an_override_keeps_what_follows_its_first_equals_sign(capsys):
    seen = []
    run(capsys, ['--config=x', '--config.dataset.name=image_folder:/a=b'], seen.append)
    assert seen[0].overrides == ['dataset.name=image_folder:/a=b']


def test_a_command_without_a_config_takes_no_overrides(capsys):
    with pytest.raises(SystemExit) as end:
        cli.run(cli.parser('main', ''), print, arguments=['--config.model.dim=3'])
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        f'{PROGRAM}there is no flag --config.model.dim=3: this command takes no config\n'
    )


@pytest.mark.parametrize(
    ('error', 'code', 'message'),
    [
        (InputError('wrong'), 2, f'{PROGRAM}wrong\n'),
        (InputError('of two\nlines'), 2, f'{PROGRAM}of two lines\n'),
        (RunError('diverged'), 1, f'{PROGRAM}diverged\n'),
        (PermissionError(13, 'Permission denied', '/x'), 2, f'{PROGRAM}/x: Permission denied\n'),
        (FileNotFoundError(2, 'No such file', '/x'), 2, f'{PROGRAM}/x: No such file\n'),
        (OSError(28, 'No space left on device'), 1, f'{PROGRAM}No space left on device\n'),
        (OSError(122, 'Disk quota exceeded'), 1, f'{PROGRAM}Disk quota exceeded\n'),
        (OSError(5, 'Input/output error'), 1, f'{PROGRAM}Input/output error\n'),
        (KeyboardInterrupt(), 130, 'python -m dsconv.main: interrupted\n'),
    ],
)
def test_exit_codes(capsys, error, code, message):
    def command(arguments):
        raise error

    assert run(capsys, ['--config=x'], command) == (code, '', message)


@pytest.mark.parametrize('error', [ValueError('a bug'), ConnectionResetError(104, 'reset'), OSError('unknown')])
def test_a_bug_keeps_its_traceback(error):
    def command(arguments):
        raise error

    with pytest.raises(type(error)):
        cli.run(main.flags(), command, arguments=['--config=x'])


def test_words_after_two_dashes_are_no_flags():
    flags = cli.parser('predict', '')
    flags.add_argument('pictures', nargs='+')
    assert flags.parse_args(['--', '--odd.png']).pictures == ['--odd.png']


def test_checkpoint_flag():
    flags = cli.parser('evaluate', '')
    cli.add_checkpoint_flag(flags)
    assert flags.parse_args([]).checkpoint is None
    assert flags.parse_args(['--checkpoint=best']).checkpoint == 'best'


def test_positive(capsys):
    assert cli.positive('12') == 12
    flags = cli.parser('predict', '')
    flags.add_argument('--top', type=cli.positive)
    for text in ('0', '-1', '1.5', 'x', ''):
        with pytest.raises(SystemExit):
            flags.parse_args([f'--top={text}'])
        assert capsys.readouterr().err.endswith(f'--top: {text!r} must be a whole number from 1\n')


def start(line, cwd, **changes):
    """A real process, which may restart itself as one of a person does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(('DSCONV', 'JAX', 'XLA'))}
    return subprocess.run(
        [sys.executable, *line],
        cwd=cwd,
        env=environment | {'PYTHONPATH': str(config.ROOT)} | changes,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--config=configs/digits.py', '--config.batch_size=0'], 'batch_size=0 must be in [1, 1000000]'),
        (['--config=configs/digits.py', '--wrokdir', 'x'], 'unrecognized argument --wrokdir; did you mean --workdir?'),
        (['--config=configs/digits.py', '--coordinator=nonsense'], '--coordinator=nonsense must be auto or HOST:PORT'),
        (['--config=configs/digits.py', '--config.model.patch_size=3'], 'model.patch_size=3 does not divide images'),
    ],
)
def test_a_wrong_line_as_a_person_sees_it(tmp_path, words, message):
    done = start(['-m', 'dsconv.main', *words], tmp_path)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith(PROGRAM + message)
    assert done.stderr.count('\n') == 1
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy(tmp_path):
    script = (
        'import sys\n'
        'from dsconv import cli, main\n'
        'try:\n    cli.run(main.flags(), main.main, arguments=["--help"])\n'
        'finally:\n    print(*sorted({name.split(".")[0] for name in sys.modules}))'
    )
    done = start(['-c', script], tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('usage: python -m dsconv.main')
    imported = set(done.stdout.splitlines()[-1].split())
    assert 'dsconv' in imported
    assert not imported & {
        'jax',
        'flax',
        'tensorflow',
        'tensorflow_datasets',
        'orbax',
        'sklearn',
        'matplotlib',
        'numpy',
    }
