"""What the launcher is told, wrong or right, before it asks for anything."""

import subprocess
import sys

import pytest

from dsconv import config as configuration
from launch import tpu
from tests.launch.test_tpu import COMMAND, SINGLE, launch


@pytest.mark.parametrize(
    'step, flags, command, reason',
    [
        ('create', [], [], 'create needs --type'),
        ('create', ['--type=v5e-8'], [], 'v5litepod'),
        ('create', ['--type=v3-8', '--valid-until=6h'], [], '--queued'),
        ('create', ['--name=My_TPU'], [], 'My_TPU'),
        ('create', ['--zone=europe'], [], 'europe'),
        ('create', ['--type=v3-8', '--sport'], [], 'did you mean --spot?'),
        ('fetch', ['--bucket=../x'], [], '../x'),
        ('run', ['--type=v3-8', '--bucket=bucket'], [], 'after --'),
        ('run', ['--type=v3-8', '--bucket=bucket'], ['rm', '-rf', 'x'], 'python -m dsconv'),
        ('logs', [], COMMAND, 'takes no command'),
        (
            'run',
            [*SINGLE, '--bucket=my-bucket'],
            [*COMMAND[:3], '--config=configs/smal.py'],
            'configs/smal.py: there is no such file',
        ),
        ('run', [*SINGLE, '--bucket=my-bucket'], [' '.join(COMMAND)], 'not quoted as a whole'),
        ('run', [*SINGLE, '--bucket=my-bucket'], [*COMMAND, '--workdir=runs/a'], '--workdir=runs/a is on the VM'),
        ('run', [*SINGLE, '--bucket=my-bucket'], ['python', '-m', 'dsconv.ablate', '--output', 'a'], 'is on the VM'),
        ('fetch', ['--bucket=my-bucket', '--output=gs://a/b'], [], 'must be a directory of this machine'),
        ('create', [*SINGLE, '--poll-seconds=-1'], [], 'must be a number of seconds'),
        ('create', [*SINGLE, '--poll-seconds=nan'], [], 'must be a number of seconds'),
        ('run', [*SINGLE, '--bucket=my-bucket'], ['python', '-m', 'dsconv.ablat'], 'there is no dsconv.ablat in HEAD'),
        (
            'run',
            ['--type=v5litepod-16', '--bucket=my-bucket'],
            ['python', '-m', 'dsconv.ablate'],
            'is one process: take',
        ),
        ('run', [*SINGLE, '--bucket=my-bucket'], [*COMMAND, '--config.epoch=3'], 'did you mean epochs'),
        ('launch', [], [], 'launch'),
    ],
)
def test_what_is_typed_wrong_gets_one_line(cloud, capsys, step, flags, command, reason):
    assert launch(step, *flags, command=command) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count('\n') == 1
    assert cloud.calls() == []


def test_a_config_that_is_not_committed_would_not_reach_the_workers(cloud, checkout, capsys):
    (checkout / 'configs' / 'mine.py').write_text('')
    command = [*COMMAND[:3], '--config=configs/mine.py']
    assert launch('run', *SINGLE, '--bucket=my-bucket', command=command) == 2
    assert '--config=configs/mine.py: there is no such file in HEAD' in capsys.readouterr().err


def test_without_gcloud_or_git_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tpu, 'ROOT', tmp_path)
    assert launch('install') == 2
    assert 'must be a git checkout' in capsys.readouterr().err
    monkeypatch.setenv('PATH', str(tmp_path))
    assert launch('delete') == 1
    assert 'there is no gcloud' in capsys.readouterr().err


def test_it_needs_nothing_but_python(cloud):
    line = ['-I', '-S', '-c', f'import sys; sys.path.insert(0, {str(configuration.ROOT)!r}); from launch import tpu; '
            'tpu.main(["delete", "--name=t", "--zone=europe-west4-a", "--dry-run"])']  # fmt: skip
    finished = subprocess.run([sys.executable, *line], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count('gcloud') == 2
