"""The launcher against a gcloud that only pretends."""

import json
import re
import shlex
import subprocess
import tarfile

import pytest

from dsconv.errors import RunError
from launch import tpu
from launch.commands import Commands
from launch.vm import TpuVm

COMMAND = ['python', '-m', 'dsconv.main', '--config=configs/small.py']
SINGLE = ['--type=v3-8']
POD = ['--type=v5litepod-16', '--queued', '--spot', '--valid-until=6h', '--project=p-1', '--service-account=a@b']


def launch(step, *flags, command=()):
    """Exit code of the launcher."""
    line = [step, '--name=t', '--zone=europe-west4-a', '--poll-seconds=0', *flags]
    try:
        tpu.main([*line, '--', *command] if command else line)
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.parametrize('kind', [SINGLE, POD])
def test_a_dry_run_prints_what_the_run_does(cloud, checkout, capfd, kind):
    cloud.script(created=['ACTIVE' if '--queued' in kind else 'READY'])
    flags = [*kind, '--bucket=my-bucket']
    assert launch('up', *flags, '--dry-run', command=COMMAND) == 0
    assert cloud.calls() == []
    assert not (checkout / 'runs').exists()
    printed = [shlex.split(line) for line in capfd.readouterr().out.splitlines() if not line.startswith('#')]
    assert launch('up', *flags, command=COMMAND) == 0
    assert [words[1:] for words in printed if words[0] == 'gcloud'] == cloud.calls()
    assert {words[0] for words in printed} == {'gcloud', 'git', 'mkdir'}
    steps = [
        'describe',
        'create',
        'describe',
        'scp',
        'install',
        'start',
        'follow',
        'status',
        'start',
        'follow',
        'status',
    ]
    assert cloud.verbs() == ['buckets', *steps, 'rsync', 'describe', 'delete']


def test_a_queued_spot_slice_is_asked_for_as_the_cli_wants_it(cloud):
    cloud.script(created=['WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE'])
    assert launch('create', *POD) == 0
    assert cloud.verbs() == ['describe', 'create', 'describe', 'describe', 'describe']
    assert cloud.calls()[1] == [
        'compute', 'tpus', 'queued-resources', 'create', 't', '--accelerator-type=v5litepod-16',
        '--scopes=https://www.googleapis.com/auth/cloud-platform', '--runtime-version=v2-alpha-tpuv5-lite',
        '--node-id=t', '--valid-until-duration=6h', '--spot', '--service-account=a@b', '--zone=europe-west4-a',
        '--project=p-1', '--quiet',
    ]  # fmt: skip


@pytest.mark.parametrize(
    'kind, image',
    [('v2-8', 'tpu-ubuntu2204-base'), ('v4-32', 'tpu-ubuntu2204-base'), ('v5p-8', 'v2-alpha-tpuv5'),
     ('v5litepod-4', 'v2-alpha-tpuv5-lite'), ('v6e-8', 'v2-alpha-tpuv6e')],
)  # fmt: skip
def test_each_type_has_its_image(capsys, kind, image):
    launch('create', f'--type={kind}', '--dry-run')
    assert f'--version={image} ' in capsys.readouterr().out


def test_what_is_there_is_not_made_again(cloud):
    cloud.script(state='READY')
    assert launch('create', *SINGLE) == 0
    assert set(cloud.verbs()) == {'describe'}


@pytest.mark.parametrize('state', ['PREEMPTED', 'TERMINATED'])
def test_what_was_preempted_is_made_anew(cloud, state):
    cloud.script(state=state)
    assert launch('create', *SINGLE) == 0
    assert [verb for verb in cloud.verbs() if verb != 'describe'] == ['delete', 'create']


def test_what_is_being_deleted_is_waited_for(cloud):
    cloud.script(state='DELETING', states=['DELETING', ''])
    assert launch('create', *SINGLE) == 0
    assert cloud.verbs() == ['describe', 'describe', 'describe', 'create', 'describe']


def test_a_stopped_vm_is_left_to_the_person(cloud, capsys):
    cloud.script(state='STOPPED')
    assert launch('create', *SINGLE) == 2
    assert 'STOPPED' in capsys.readouterr().err


def test_only_what_is_committed_is_sent_to_all_workers(cloud, checkout):
    assert launch('install') == 0
    scp, ssh = cloud.calls()
    assert scp[3] == 'scp' and scp[5] == 't:' and '--worker=all' in scp and '--worker=all' in ssh
    with tarfile.open(scp[4]) as archive:
        names = archive.getnames()
    assert {'committed.py', 'configs/small.py'} <= set(names) and 'secret' not in names
    revision = subprocess.run(['git', '-C', checkout, 'rev-parse', 'HEAD'], capture_output=True, text=True).stdout
    assert f'ln -sfn dsconv-{revision[:12]} dsconv' in ssh[6]


def test_the_command_reaches_the_worker_word_by_word(cloud):
    words = [
        *COMMAND,
        "--config.dataset.name=image_folder:it's  here",
        '--config.dataset.data_dir=$HOME "*"',
        '--workdir=gs://b/w',
    ]
    assert launch('run', *SINGLE, '--bucket=gs://my-bucket/', '--run=r-1', command=words) == 0
    start = cloud.calls()[0]
    assert '--worker=all' in start
    remote = next(word for word in start if word.startswith('--command=')).removeprefix('--command=')
    spoken = subprocess.run(['bash', '-c', remote.replace('bash dsconv', 'printf "%s\\n" dsconv', 1)],
                            capture_output=True, text=True).stdout.splitlines()  # fmt: skip
    assert spoken == ['dsconv/launch/on_worker.sh', 'start', 'r-1', 'env',
                      'TFDS_DATA_DIR=gs://my-bucket/tensorflow_datasets', *words, '--coordinator=auto']  # fmt: skip


def test_a_run_lives_in_the_bucket_unless_told_otherwise(capsys):
    launch('run', *SINGLE, '--bucket=my-bucket', '--run=r-1', '--dry-run', command=COMMAND)
    assert '--workdir=gs://my-bucket/runs/r-1 --coordinator=auto' in capsys.readouterr().out
    launch('run', *SINGLE, '--bucket=my-bucket', '--dry-run', command=['python', '-m', 'dsconv.evaluate'])
    assert '--coordinator' not in capsys.readouterr().out


@pytest.mark.parametrize(
    'command, written',
    [
        (COMMAND, 'gs://my-bucket/runs/t'),
        ([*COMMAND, '--workdir', 'gs://other/w'], 'gs://other/w'),
        (['python', '-m', 'dsconv.ablate', '--study=norm'], 'gs://my-bucket/runs/t'),
        (['python', '-m', 'dsconv.compare', '--output=gs://other/c'], 'gs://other/c'),
        (['python', '-m', 'dsconv.evaluate', '--workdir=gs://other/w'], None),
    ],
)
def test_what_a_command_writes_is_fetched_before_the_vm_goes(cloud, checkout, command, written):
    assert launch('up', *SINGLE, '--bucket=my-bucket', command=command) == 0
    start = next(call for call in cloud.calls() if any('on_worker.sh start t ' in word for word in call))
    fetched = [call[3] for call in cloud.calls() if call[1] == 'rsync']
    assert fetched == ([written] if written else [])
    assert not written or any(re.search(f'--(workdir|output)[= ]{written}( |$)', word) for word in start)
    assert cloud.verbs()[-1] == 'delete'


def test_data_is_prepared_by_one_worker_or_not_at_all(cloud):
    assert launch('data', '--bucket=my-bucket', '--dataset=mnist') == 0
    start = cloud.calls()[0]
    assert '--worker=0' in start
    assert 'start data-mnist bash launch/on_worker.sh prepare mnist gs://my-bucket/tensorflow_datasets' in start[6]
    cloud.script()
    assert launch('data', '--bucket=my-bucket', '--dataset=none') == 0
    assert cloud.calls() == []


@pytest.mark.parametrize(
    'words, prepared',
    [
        (['--config=configs/small.py'], 'cifar10'),
        (['--config=configs/small.py', '--config.dataset.name=cifar100:3.0.2'], 'cifar100:3.0.2'),
        (['--config=configs/digits.py'], None),
        (['--config=gs://b/config.json'], 'cifar10'),
        (['--config=configs/small.py', '--config.dataset.name', 'image_folder:gs://b/p'], None),
    ],
)
def test_the_data_are_those_of_the_command(cloud, checkout, words, prepared):
    assert launch('up', *SINGLE, '--bucket=my-bucket', command=[*COMMAND[:3], *words]) == 0
    said = [word for call in cloud.calls() for word in call if 'on_worker.sh prepare' in word]
    assert len(said) == bool(prepared)
    assert not prepared or f' prepare {prepared} gs://my-bucket/tensorflow_datasets' in said[0]


def test_data_without_a_command_are_cifar10(cloud):
    assert launch('data', '--bucket=my-bucket') == 0
    assert ' prepare cifar10 gs://my-bucket/tensorflow_datasets' in cloud.calls()[0][6]


def test_the_whole_of_gclouds_message_is_told(cloud, capsys):
    cloud.script(
        failures=[['describe', 1, 'ERROR: (gcloud) Error parsing [tpu].\nFailed to find attribute [project].']]
    )
    assert launch('delete') == 1
    assert 'Error parsing [tpu]. Failed to find attribute [project].' in capsys.readouterr().err.splitlines()[-1]


def test_logs_stop_and_fetch(cloud, tmp_path):
    assert launch('logs', '--run=r-1') == launch('stop', '--run=r-1') == 0
    assert launch('fetch', '--run=r-1', '--bucket=my-bucket', '--output=here') == 0
    logs, stop, fetch = cloud.calls()
    assert '--worker=0' in logs and '--command=bash dsconv/launch/on_worker.sh follow r-1' in logs
    assert '--worker=all' in stop and '--command=bash dsconv/launch/on_worker.sh stop r-1' in stop
    assert fetch == ['storage', 'rsync', '--recursive', 'gs://my-bucket/runs/r-1', 'here', '--quiet']
    assert (tmp_path / 'here').is_dir()


def test_a_fault_of_its_own_leaves_no_vm_either(cloud, checkout, monkeypatch):
    monkeypatch.setattr(tpu, 'carry_out', lambda *_, **__: [][0])
    with pytest.raises(IndexError):
        launch('up', *SINGLE, '--bucket=my-bucket', '--delete-on-failure', command=COMMAND)
    assert cloud.verbs()[-1] == 'delete'


def test_a_request_that_waits_is_not_given_up_for_a_network_that_is_gone():
    looks = iter(['WAITING_FOR_RESOURCES', RunError('no network'), RunError('no network'), 'ACTIVE'])

    class Lost(TpuVm):
        def state(self, pretended=''):
            look = next(looks)
            if isinstance(look, RunError):
                raise look
            return look

    Lost('t', 'europe-west4-a', Commands(), queued=True, poll_seconds=0).create()
    assert next(looks, None) is None


def test_deleting_twice_is_deleting_once(cloud):
    cloud.script(state='READY')
    assert launch('delete') == launch('delete') == 0
    assert cloud.verbs() == ['describe', 'delete', 'describe']
    cloud.script(state='ACTIVE')
    assert launch('delete', '--queued') == 0
    assert cloud.calls()[1][2:6] == ['queued-resources', 'delete', 't', '--force']


def test_a_failure_leaves_the_vm_and_says_so(cloud, checkout, capfd):
    cloud.script(failures=[['on_worker.sh install', 1, 'ERROR: (gcloud) no space left']])
    assert launch('up', *SINGLE, '--bucket=my-bucket', command=COMMAND) == 1
    assert 'delete' not in cloud.verbs()
    last = capfd.readouterr().err.splitlines()[-1]
    assert 'ERROR: (gcloud) no space left' in last and 't may be there, and cost' in last


@pytest.mark.parametrize('part', ['on_worker.sh install', 'tpu-vm create', 'on_worker.sh start t '])
def test_a_failure_deletes_what_was_made_if_asked(cloud, checkout, part):
    cloud.script(failures=[[part, 1, 'ERROR: no']])
    assert launch('up', *SINGLE, '--bucket=my-bucket', '--delete-on-failure', command=COMMAND) == 1
    assert cloud.verbs()[-1] == ('describe' if 'create' in part else 'delete')
    assert json.loads((cloud.directory / 'script.json').read_text())['state'] == ''


@pytest.mark.parametrize(
    'state, flags, failures, code',
    [
        ('READY', ['--delete-on-failure'], [['on_worker.sh install', 1, 'ERROR: no']], 1),
        ('READY', [], [], 0),
        ('', ['--keep'], [], 0),
    ],
)
def test_what_was_there_before_or_is_to_be_kept_is_not_deleted(cloud, checkout, state, flags, failures, code):
    cloud.script(state=state, failures=failures)
    assert launch('up', *SINGLE, '--bucket=my-bucket', *flags, command=COMMAND) == code
    assert 'delete' not in cloud.verbs()
