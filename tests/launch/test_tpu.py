"""TPU VMs: the task for SkyPilot, read and run as far as this machine can, and the script against a stand-in gcloud."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile

import pytest
import yaml

from dsconv.config import ROOT
from dsconv.main import flags
from dsconv.process import PREEMPTED
from tests.runs import wait_for

TASK = ROOT / 'launch' / 'tpu.sky.yaml'
SCRIPT = ROOT / 'launch' / 'tpu.sh'
# What the vendor's page on TPU software versions names for JAX.
IMAGES = dict.fromkeys(('v2-8', 'v3-8', 'v4-32'), 'tpu-ubuntu2204-base')
IMAGES |= {'v5litepod-16': 'v2-alpha-tpuv5-lite', 'v5p-8': 'v2-alpha-tpuv5', 'v6e-8': 'v2-alpha-tpuv6e'}
# A gcloud that records each call, gives one state of the VM after another, and takes its ssh to a home of its own.
GCLOUD = """
import json, os, subprocess, sys
os.chdir(os.environ['HOME'])
print(json.dumps(sys.argv[1:]), file=open('calls', 'a'))
if 'describe' in sys.argv:
    state, *rest = open('states').read().split(',')
    open('states', 'w').write(','.join(rest))
    sys.exit('no network') if state == 'SILENT' else print(state)
for word in sys.argv:
    if word.startswith('--command='):
        sys.exit(subprocess.run(['bash', '-c', word.partition('=')[2]]).returncode)
"""
LEAVING = f'import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit({PREEMPTED})); print("up"); '


@pytest.fixture(scope='module')
def task():
    return yaml.safe_load(TASK.read_text())


def test_skypilot_reads_the_task(tmp_path):
    if not importlib.util.find_spec('sky'):
        pytest.skip('SkyPilot is not installed')
    code = f"""if True:
        import json, sky, yaml
        task = sky.Task.from_yaml_config(yaml.safe_load(open({str(TASK)!r})), env_overrides=[('BUCKET', 'b')])
        (resources,) = task.resources
        keys = ('accelerators', 'accelerator_args', 'use_spot', 'job_recovery')
        told = {{key: getattr(resources, key) for key in keys}}
        print(json.dumps(told | {{'mounts': {{path: store.source for path, store in task.storage_mounts.items()}}}}))"""
    environment = os.environ | {'HOME': str(tmp_path), 'SKYPILOT_DISABLE_USAGE_COLLECTION': '1'}
    said = subprocess.run([sys.executable, '-c', code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    assert json.loads(said.stdout) == {
        'accelerators': {'tpu-v3-8': 1},
        'accelerator_args': {'tpu_vm': True, 'runtime_version': IMAGES['v3-8'], 'gcp_queued_resource': False},
        'use_spot': True,
        'job_recovery': {'strategy': 'FAILOVER', 'recover_on_exit_codes': [PREEMPTED]},
        'mounts': {'/bucket': 'gs://b'},
    }


def test_the_task_names_the_image_of_each_tpu_and_installs_what_a_checkout_needs(task):
    rows = re.findall(r'((?:tpu-\w+-\*(?:, )?)+) +(\S+)', TASK.read_text())
    table = {kind: image for kinds, image in rows for kind in re.findall(r'tpu-(\w+)-', kinds)}
    assert table == {kind.partition('-')[0]: image for kind, image in IMAGES.items()}
    resources = task['resources']
    assert resources['accelerator_args']['runtime_version'] == IMAGES[resources['accelerators'].removeprefix('tpu-')]
    subprocess.run(['bash', '-n', '-c', task['setup']], check=True)
    assert task['workdir'] == '.' and "-r requirements.txt 'jax[tpu]'" in task['setup']


def test_the_task_trains_in_the_bucket_and_passes_its_exit_code_on(task, tmp_path):
    python = tmp_path / 'venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/bash\nprintf "%s\\n" "$TFDS_DATA_DIR" "$@"\nexit {PREEMPTED}\n')
    python.chmod(0o755)
    environment = {'HOME': str(tmp_path), 'PATH': os.environ['PATH']} | task['envs'] | {'BUCKET': 'b'}
    said = subprocess.run(['bash', '-c', task['run']], env=environment, stdout=subprocess.PIPE, text=True)
    assert [said.returncode] == task['resources']['job_recovery']['recover_on_exit_codes'] == [PREEMPTED]
    data, dash, module, *line = said.stdout.splitlines()
    assert (data, dash, module) == ('gs://b/tensorflow_datasets', '-m', 'dsconv.main')
    pytest.importorskip('tensorflow')  # for gs:// paths
    arguments = flags().parse_args([word for word in line if not word.startswith('--config.')])
    assert (str(arguments.workdir), arguments.coordinator) == ('gs://b/runs/small', 'auto')
    assert arguments.config == 'configs/small.py'


@pytest.fixture
def cloud(tmp_path):
    """Calls the script; `cloud.home` is the home directory of the one host."""
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'gcloud').write_text(f'#!/usr/bin/env -S {sys.executable} -I -S\n{GCLOUD}')
    (tmp_path / 'bin' / 'gcloud').chmod(0o755)
    (tmp_path / 'venv' / 'bin').mkdir(parents=True)
    (tmp_path / 'venv' / 'bin' / 'python').symlink_to(sys.executable)
    (tmp_path / 'dsconv').symlink_to(ROOT)
    environment = os.environ | {
        'HOME': str(tmp_path), 'PATH': f'{tmp_path}/bin:{os.environ["PATH"]}', 'POLL_SECONDS': '0', 'NAME': 't',
        'ZONE': 'europe-west4-a', 'BUCKET': 'b', 'TYPE': 'v3-8', 'PYTHONUNBUFFERED': '1',
    }  # fmt: skip

    def call(*words, script=SCRIPT, **changes):
        return subprocess.run(['bash', script, *words], env=environment | changes, capture_output=True, text=True)

    call.home = tmp_path
    yield call
    if (tmp_path / 'pid').exists():
        call('stop')


def calls(cloud):
    return [json.loads(line) for line in (cloud.home / 'calls').read_text().splitlines()]


def test_a_dry_run_prints_the_commands_and_runs_none(cloud):
    for kind, image in IMAGES.items():
        said = cloud('create', '--spot', '--valid-until-duration=6h', DRY_RUN='1', TYPE=kind)
        assert shlex.split(said.stdout) == [
            'gcloud', 'compute', 'tpus', 'queued-resources', 'create', 't', '--node-id=t', f'--accelerator-type={kind}',
            f'--runtime-version={image}', '--scopes=https://www.googleapis.com/auth/cloud-platform', '--spot',
            '--valid-until-duration=6h', '--zone=europe-west4-a', '--quiet',
        ]  # fmt: skip
    said = cloud('fetch', DRY_RUN='1').stdout.splitlines()
    assert said == ['mkdir -p runs ', 'gcloud storage rsync --recursive gs://b/runs runs ']
    assert not (cloud.home / 'calls').exists()


@pytest.mark.parametrize('states, code', [('SILENT,WAITING_FOR_RESOURCES,ACTIVE', 0), ('ACCEPTED,FAILED,FAILED', 1)])
def test_the_queue_is_waited_for_and_the_vm_deleted(cloud, states, code):
    (cloud.home / 'states').write_text(states)
    said = cloud('create')
    assert said.returncode == code, said.stderr
    assert cloud('delete').returncode == 0
    *waited, last = calls(cloud)
    assert [words[3] for words in waited] == ['create', *['describe'] * (3 - code)]
    assert last[2:] == ['queued-resources', 'delete', 't', '--force', '--zone=europe-west4-a', '--quiet']


def test_what_is_given_wrong_is_said_before_gcloud_is_called(cloud):
    for step, changes, reason in (
        ('create', {'TYPE': 'v5e-8'}, 'v5litepod-'),
        ('run', {'BUCKET': ''}, 'BUCKET: '),
        ('run', {}, 'give the command to run'),
        ('go', {}, 'launch/tpu.sh run'),
    ):
        said = cloud(step, **changes)
        assert said.returncode and reason in said.stderr
    assert not (cloud.home / 'calls').exists()


def test_a_run_outlives_its_connection_once_and_saves_when_stopped(cloud):
    words = ['python', '-c', LEAVING + 'time.sleep(60)', 'it\'s  "*" $HOME']
    assert cloud('run', *words).returncode == 0
    wait_for(lambda: (cloud.home / 'log').exists() and 'up' in (cloud.home / 'log').read_text())
    pid = int((cloud.home / 'pid').read_text())
    assert os.getsid(pid) != os.getsid(0)
    with open(f'/proc/{pid}/cmdline') as file:
        assert file.read().split('\0')[1:-1] == words[1:]
    with open(f'/proc/{pid}/environ') as file:
        assert 'TFDS_DATA_DIR=gs://b/tensorflow_datasets' in file.read().split('\0')
    again = cloud('run', 'python', '-c', '')
    assert (again.returncode, again.stdout) == (1, 'a command is running there\n')
    assert cloud('status').stdout == 'running\n'
    assert cloud('stop').returncode == 0
    wait_for(lambda: cloud('status').stdout == f'exit code {PREEMPTED}\n')
    assert cloud('stop').returncode == 0  # nothing is there to be stopped
    cloud('run', 'python', '-c', '')
    wait_for(lambda: cloud('status').stdout == 'exit code 0\n')
    assert {words[5] for words in calls(cloud)} == {'--worker=all'}


def test_the_data_is_prepared_by_one_host(cloud):
    (cloud.home / 'tensorflow_datasets.py').write_text(
        'import os\n'
        'class builder:\n'
        '    def __init__(self, name): self.name = name\n'
        '    def download_and_prepare(self, download_dir): print(self.name, os.environ["TFDS_DATA_DIR"])\n'
    )
    assert cloud('data', 'svhn_cropped', PYTHONPATH=str(cloud.home)).returncode == 0
    wait_for(lambda: cloud('status').stdout == 'exit code 0\n')
    assert (cloud.home / 'log').read_text().startswith('svhn_cropped gs://b/tensorflow_datasets\n')
    assert calls(cloud)[0][5] == '--worker=0'


def test_what_is_committed_is_sent_to_all_hosts(cloud, tmp_path):
    checkout = tmp_path / 'checkout'
    (checkout / 'launch').mkdir(parents=True)
    (checkout / 'launch' / 'tpu.sh').write_text(SCRIPT.read_text())
    for words in (['init', '-q'], ['add', '.'], ['-c', 'user.name=x', '-c', 'user.email=x@x', 'commit', '-qm', 'x']):
        subprocess.run(['git', '-C', checkout, *words], check=True)
    (checkout / 'secret').touch()
    cloud.home.joinpath('dsconv').unlink()  # which the installation replaces, but for the runs
    for name in ('runs', 'old'):
        (tmp_path / 'dsconv' / name / 'kept').mkdir(parents=True)
    (tmp_path / 'bin' / 'python3').write_text(f'#!/bin/bash\necho "$@" >>{tmp_path}/python3\n')
    (tmp_path / 'bin' / 'python3').chmod(0o755)
    (tmp_path / 'dsconv.tar.gz').symlink_to(checkout / 'runs' / 'dsconv.tar.gz')  # as scp would bring it
    assert cloud('install', script=checkout / 'launch' / 'tpu.sh').returncode == 0
    with tarfile.open(checkout / 'runs' / 'dsconv.tar.gz') as archive:
        assert archive.getnames() == ['dsconv', 'dsconv/launch', 'dsconv/launch/tpu.sh']
    assert {path.name for path in (tmp_path / 'dsconv').iterdir()} == {'launch', 'runs'}
    assert (tmp_path / 'dsconv' / 'launch' / 'tpu.sh').exists() and (tmp_path / 'dsconv' / 'runs' / 'kept').exists()
    assert (tmp_path / 'python3').read_text().splitlines()[-1].endswith('-r dsconv/requirements.txt jax[tpu]')
    assert [words[3] for words in calls(cloud)] == ['ssh', 'scp', 'ssh']
    assert all('--worker=all' in words for words in calls(cloud))
