"""The scripts' syntax, and what the JobSet asks of its slice and does on an exit code."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from dsconv import config as configuration
from tests.commands import python
from tests.test_docs import check_command

LAUNCH = configuration.ROOT / 'launch'
JOBSET = yaml.safe_load((LAUNCH / 'jobset.yaml').read_text())['spec']
JOB = JOBSET['replicatedJobs'][0]['template']['spec']
POD = JOB['template']['spec']
CONTAINER = POD['containers'][0]


def test_the_jobset_fills_its_slice_and_tells_exit_codes_apart():
    assert (JOB['completionMode'], POD['restartPolicy']) == ('Indexed', 'Never')  # what a podFailurePolicy needs
    rows, columns = map(int, POD['nodeSelector']['cloud.google.com/gke-tpu-topology'].split('x'))
    chips = CONTAINER['resources']['limits']['google.com/tpu']
    assert JOB['completions'] == JOB['parallelism'] == rows * columns // chips
    assert f'--config.model.norm_groups={rows * columns}' in CONTAINER['args']  # docs/launch.md
    policy = JOB['podFailurePolicy']['rules'][0]['onExitCodes']
    assert (policy['values'], policy['containerName']) == ([2, 75], CONTAINER['name'])
    for code, action in ((2, 'FailJobSet'), (75, 'RestartJobSetAndIgnoreMaxRestarts')):
        message = (
            f'Container train for pod default/dsconv-0 failed with exit code {code} matching FailJob rule at index 0'
        )
        rules = [
            rule['action']
            for rule in JOBSET['failurePolicy']['rules']
            if any(re.search(pattern, message) for pattern in rule.get('onJobFailureMessagePatterns', ['']))
        ]
        assert rules[0] == action


def test_the_jobset_runs_the_command_there_is():
    module, *line = CONTAINER['args']
    assert module == 'dsconv.main'
    pytest.importorskip('tensorflow')  # for gs:// paths
    check_command('main', line)
    assert '--coordinator=auto' in line


def test_the_image_holds_what_the_command_needs(tmp_path):
    copied = re.findall(r'^COPY (\S+)', (LAUNCH / 'Dockerfile').read_text(), re.MULTILINE)
    assert copied == ['requirements.txt', '.git_archival', 'benchmarks', 'configs', 'dsconv', 'pretrained']
    for path in copied:
        copy = shutil.copytree if (configuration.ROOT / path).is_dir() else shutil.copyfile
        copy(configuration.ROOT / path, tmp_path / path)
    code = 'from dsconv.training import run; run.configuration.load("configs/small.py")'
    said = python('-c', code, cwd=tmp_path, PYTHONPATH='')
    assert said.returncode == 0, said.stderr


def test_scripts_are_bash_without_surprises():
    for script in [*LAUNCH.glob('*.sh'), *LAUNCH.glob('*.sbatch')]:
        subprocess.run(['bash', '-n', script], check=True)
        if shutil.which('shellcheck'):
            subprocess.run(['shellcheck', script], check=True)


@pytest.mark.parametrize('code, queued_again', [(0, False), (1, False), (75, True)])
def test_slurm_queues_a_run_again_that_was_told_to_leave(tmp_path, code, queued_again):
    srun = f'printf "%s\\n" "$JAX_LOCAL_DEVICE_IDS" "$@" >srun; exit {code}'
    for name, body in {'srun': srun, 'scontrol': 'echo "$@" >scontrol'}.items():
        (tmp_path / name).write_text(f'#!/bin/bash\n{body}\n')
        (tmp_path / name).chmod(0o755)
    environment = {'PATH': f'{tmp_path}:/usr/bin:/bin', 'SLURM_SUBMIT_DIR': str(tmp_path / 'work'), 'SLURM_JOB_ID': '7'}
    environment['SLURM_GPUS_ON_NODE'] = '4'
    (tmp_path / 'work').mkdir()
    line = ['bash', LAUNCH / 'train.sbatch', '--config=configs/small.py', '--workdir=a b']
    assert subprocess.run(line, env=environment).returncode == code
    gpus, *spoken = (tmp_path / 'work' / 'srun').read_text().splitlines()
    assert gpus == '0,1,2,3'
    assert spoken == ['python', '-m', 'dsconv.main', '--coordinator=auto', '--config=configs/small.py', '--workdir=a b']
    queued = tmp_path / 'work' / 'scontrol'
    assert queued.exists() == queued_again
    assert not queued_again or queued.read_text() == 'requeue 7\n'


def test_a_task_of_an_array_trains_its_part(tmp_path):
    task = {'SLURM_ARRAY_TASK_ID': '2', 'SLURM_ARRAY_TASK_COUNT': '8', 'SLURM_SUBMIT_DIR': str(tmp_path)}
    environment = task | {'PATH': os.environ['PATH'], 'PYTHON': 'echo'}
    line = ['bash', LAUNCH / 'study.sbatch', 'ablate', '--study=a b']
    assert subprocess.check_output(line, env=environment, text=True) == '-m dsconv.ablate --study=a b --shard=2/8\n'
