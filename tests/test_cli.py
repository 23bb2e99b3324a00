import os
import types
from pathlib import Path
from unittest.mock import Mock

import pytest

from dsconv import ablate, cli, config, main
from dsconv.errors import InputError, RunError
from tests import commands

PROGRAM = 'python -m dsconv.main: error: '
SMALL = '--config=configs/small.py'


def run(capsys, line, command):
    """Runs a function in place of `main`; returns its exit code, stdout and stderr."""
    return commands.run(types.SimpleNamespace(__name__='dsconv.main', flags=main.flags, main=command), line, capsys)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ([], 'the following arguments are required: --config'),
        (['--wrokdir=x'], 'unrecognized argument --wrokdir; did you mean --workdir?'),
        (['--b1', '3'], 'unrecognized argument --b1; did you mean --config.optimizer.b1?'),
        ([SMALL, '--conf=x'], 'unrecognized argument --conf; did you mean --config?'),
        ([SMALL, 'extra\nword'], 'unrecognized argument extra word; --help lists all of them'),
        ([SMALL, '--config.epochs', '--config.seed=3'], '--config.epochs needs a value: --config.epochs=VALUE'),
        ([SMALL, '--config.epochs=\udcff'], r"--config.epochs='\udcff' must be a whole number"),
    ],
)
def test_a_wrong_line_is_one_line_and_exit_code_2(capsys, line, message):
    code, output, errors = run(capsys, line, lambda arguments: config.load(arguments.config, arguments.overrides))
    assert (code, output, errors.count('\n')) == (2, '', 1)
    assert errors.startswith(PROGRAM + message)


@pytest.mark.parametrize(('command', 'flag'), [(main, '--config.seed'), (ablate, '--seeds')])
def test_a_seed_is_one_of_the_config_and_of_a_study_one_of_several(capsys, command, flag):
    _, _, errors = commands.run(command, ['--seed=0'], capsys)
    assert errors.endswith(f'unrecognized argument --seed; did you mean {flag}?\n')


def test_a_level_of_the_log_that_there_is_not_is_one_line_too(capsys, monkeypatch):
    monkeypatch.setenv('DSCONV_LOG', 'loud')
    assert run(capsys, [SMALL], print) == (2, '', f'{PROGRAM}DSCONV_LOG=LOUD must be DEBUG, INFO, WARNING or ERROR\n')


def test_overrides_with_and_without_an_equals_sign(capsys):
    seen = []
    words = ['--config.model.dim', '64', '--config.seed', '-0', '--config.dataset.name=image_folder:/a=b']
    assert run(capsys, [*words, '--config=x', '--workdir', 'y'], seen.append) == (0, '', '')
    assert seen[0].overrides == ['model.dim=64', 'seed=-0', 'dataset.name=image_folder:/a=b']
    assert (seen[0].config, seen[0].workdir) == ('x', Path('y'))
    with pytest.raises(SystemExit):
        cli.run(cli.parser('main', ''), print, arguments=['--config.model.dim=3'])
    assert capsys.readouterr().err.endswith('there is no flag --config.model.dim=3: this command takes no config\n')


@pytest.mark.parametrize(
    ('error', 'code', 'message'),
    [
        (InputError('of two\nlines'), 2, f'{PROGRAM}of two lines\n'),
        (RuntimeError("Unable to initialize backend 'x': y"), 2,
         f"{PROGRAM}JAX_PLATFORMS=x: RuntimeError: Unable to initialize backend 'x': y\n"),
        (ValueError("invalid truth value 'flase' for environment 'JAX_ENABLE_X64'"), 2,
         f"{PROGRAM}invalid truth value 'flase' for environment 'JAX_ENABLE_X64'\n"),
        (ValueError('Invalid value "abc" for JAX flag jax_num_cpu_devices'), 2,
         f'{PROGRAM}Invalid value "abc" for JAX flag jax_num_cpu_devices\n'),
        (RunError('diverged'), 1, f'{PROGRAM}diverged\n'),
        (PermissionError(13, 'Permission denied', '/x'), 2, f'{PROGRAM}/x: Permission denied\n'),
        (OSError(28, 'No space left on device'), 1, f'{PROGRAM}No space left on device\n'),
        (OSError(36, 'File name too long', 'x'), 2, f'{PROGRAM}x: File name too long\n'),
        (KeyboardInterrupt(), 130, 'python -m dsconv.main: interrupted\n'),
        (ModuleNotFoundError('', name='PIL'), 2,
         f'{PROGRAM}PIL is not installed: activate the environment, or pip install -r requirements.txt\n'),
        (ModuleNotFoundError("No module named 'dsconv.x'", name='dsconv.x'), None, None),
        (ValueError('a bug'), None, None),  # keeps its traceback
        (ConnectionResetError(104, 'reset'), None, None),
    ],
)  # fmt: skip
def test_exit_codes(capsys, monkeypatch, error, code, message):
    monkeypatch.setenv('JAX_PLATFORMS', 'x')
    if code is None:
        with pytest.raises(type(error)):
            run(capsys, ['--config=x'], Mock(side_effect=error))
    else:
        assert run(capsys, ['--config=x'], Mock(side_effect=error)) == (code, '', message)


def test_words_after_two_dashes_are_no_flags():
    flags = cli.parser('predict', '')
    cli.add_checkpoint_flag(flags)
    flags.add_argument('pictures', nargs='+')
    assert flags.parse_args(['--', '--odd.png']).pictures == ['--odd.png']
    assert flags.parse_args(['--checkpoint=best', 'x']).checkpoint == 'best'
    line = ['--config.seed=1', '--', '--config.png']
    assert cli.take_overrides(line) == (['seed=1'], ['--', '--config.png'])


@pytest.mark.parametrize(
    ('convert', 'text', 'value', 'wrong'),
    [
        (cli.positive, '12', 12, ('0', '-1', '1.5', '')),
        (cli.number(2), '2', 2, ('1', '0')),
        (cli.probability, '0.9', 0.9, ('1.1', '-1', 'nan', '')),
        (cli.seeds, '0,7', (0, 7), ('0,', '1,1', '-1', str(2**32))),
        (cli.shard, '2/4', (2, 4), ('0/4', '5/4', '2', '/')),
        (cli.path, 'a/b', Path('a/b'), ('', 's3://x')),
    ],
)
def test_converters(convert, text, value, wrong):
    assert convert(text) == value
    for other in wrong:
        with pytest.raises(cli.ArgumentTypeError, match='must|twice'):
            convert(other)


def test_output_whose_reader_has_ended_is_one_line():
    reader, writer = os.pipe()
    os.close(reader)
    script = 'from dsconv import cli; cli.run(cli.parser("main", ""), print, arguments=[])'
    done = commands.python('-c', script, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, f'{PROGRAM}Broken pipe\n')


def test_help_imports_nothing_heavy():
    done = commands.python('-X', 'importtime', '-m', 'dsconv.main', '--help')
    assert done.returncode == 0 and done.stdout.startswith('usage: python -m dsconv.main')
    lines = done.stderr.splitlines()
    assert all(line.startswith('import time: ') for line in lines)
    imported = {line.rpartition('|')[2].strip().partition('.')[0] for line in lines}
    assert 'dsconv' in imported
    assert not imported & {'jax', 'flax', 'tensorflow', 'orbax', 'sklearn', 'matplotlib', 'numpy'}
