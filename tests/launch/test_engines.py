"""The scripts' syntax, and the JobSet against the fields that its interface and Kubernetes' publish."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from dsconv import config as configuration
from dsconv.main import flags

LAUNCH = configuration.ROOT / 'launch'
SCRIPTS = sorted([*LAUNCH.glob('*.sh'), *LAUNCH.glob('*.sbatch')])
# JobSet v1alpha2 (0.10), batch/v1 Job, and of v1 Pod what is used here.
JOBSET = {
    'apiVersion', 'kind', 'metadata.name', 'metadata.annotations.*', 'spec.network.enableDNSHostnames',
    'spec.network.publishNotReadyAddresses', 'spec.failurePolicy.maxRestarts', 'spec.failurePolicy.rules.name',
    'spec.failurePolicy.rules.action', 'spec.failurePolicy.rules.onJobFailureReasons',
    'spec.failurePolicy.rules.onJobFailureMessagePatterns', 'spec.replicatedJobs.name', 'spec.replicatedJobs.replicas',
}  # fmt: skip
JOB = {
    'completionMode', 'completions', 'parallelism', 'backoffLimit', 'podFailurePolicy.rules.action',
    'podFailurePolicy.rules.onExitCodes.containerName', 'podFailurePolicy.rules.onExitCodes.operator',
    'podFailurePolicy.rules.onExitCodes.values', 'podFailurePolicy.rules.onPodConditions.type',
    'podFailurePolicy.rules.onPodConditions.status',
}  # fmt: skip
POD = {
    'restartPolicy', 'terminationGracePeriodSeconds', 'serviceAccountName', 'nodeSelector.*', 'containers.name',
    'containers.image', 'containers.args', 'containers.env.name', 'containers.env.value',
    'containers.ports.containerPort', 'containers.resources.limits.*',
}  # fmt: skip
FREE = ('annotations', 'nodeSelector', 'limits')


def fields(tree, path=''):
    """The dotted names of all leaves; those of a list's items without a number."""
    if isinstance(tree, list):
        return set().union(*(fields(item, path) for item in tree))
    if not isinstance(tree, dict):
        return {path}
    names = {key: '*' if path.split('.')[-1] in FREE else key for key in tree}
    return set().union(*(fields(value, f'{path}.{names[key]}'.lstrip('.')) for key, value in tree.items()))


@pytest.fixture(scope='module')
def jobset():
    yaml = pytest.importorskip('yaml')
    return yaml.safe_load((LAUNCH / 'jobset.yaml').read_text())


def test_the_jobset_has_only_fields_that_there_are(jobset):
    job = jobset['spec']['replicatedJobs'][0]['template']['spec']
    pod = job['template']['spec']
    prefix = 'spec.replicatedJobs.template.spec'
    known = JOBSET | {f'{prefix}.{name}' for name in JOB} | {f'{prefix}.template.spec.{name}' for name in POD}
    assert fields(jobset) <= known
    assert (jobset['apiVersion'], jobset['kind']) == ('jobset.x-k8s.io/v1alpha2', 'JobSet')
    assert (job['completionMode'], pod['restartPolicy']) == ('Indexed', 'Never')  # what a podFailurePolicy needs


def test_the_jobset_fills_its_slice(jobset):
    job = jobset['spec']['replicatedJobs'][0]['template']['spec']
    pod = job['template']['spec']
    rows, columns = map(int, pod['nodeSelector']['cloud.google.com/gke-tpu-topology'].split('x'))
    chips = pod['containers'][0]['resources']['limits']['google.com/tpu']
    assert job['completions'] == job['parallelism'] == rows * columns // chips


def test_the_jobset_tells_exit_codes_apart(jobset):
    rules = jobset['spec']['failurePolicy']['rules']
    message = 'Container train for pod default/dsconv-0 failed with exit code {} matching FailJob rule at index 0'
    first = {
        code: next(
            rule['action']
            for rule in rules
            if any(
                re.search(pattern, message.format(code)) for pattern in rule.get('onJobFailureMessagePatterns', [''])
            )
        )
        for code in (2, 75)
    }
    assert first == {2: 'FailJobSet', 75: 'RestartJobSetAndIgnoreMaxRestarts'}
    job = jobset['spec']['replicatedJobs'][0]['template']['spec']
    policy = job['podFailurePolicy']['rules'][0]['onExitCodes']
    assert policy['values'] == [2, 75]
    assert policy['containerName'] == job['template']['spec']['containers'][0]['name']


def test_the_jobset_runs_the_command_there_is(jobset):
    pod = jobset['spec']['replicatedJobs'][0]['template']['spec']['template']['spec']
    module, *line = pod['containers'][0]['args']
    assert module == 'dsconv.main'
    pytest.importorskip('tensorflow')  # for gs:// paths
    arguments = flags().parse_args([word for word in line if not word.startswith('--config.')])
    assert arguments.coordinator == 'auto'


def test_the_image_holds_what_the_command_needs(tmp_path):
    copied = re.findall(r'^COPY (\S+)', (LAUNCH / 'Dockerfile').read_text(), re.MULTILINE)
    assert copied == ['requirements.txt', '.git_archival', 'benchmarks', 'configs', 'dsconv']
    for path in copied:
        copy = shutil.copytree if (configuration.ROOT / path).is_dir() else shutil.copyfile
        copy(configuration.ROOT / path, tmp_path / path)
    code = 'from dsconv.training import run; print(run._git_revision())'
    environment = os.environ | {'GIT_CEILING_DIRECTORIES': str(tmp_path.parent)}
    said = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.stdout == 'None\n', said.stderr


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda script: script.name)
def test_scripts_are_bash_without_surprises(script):
    subprocess.run(['bash', '-n', script], check=True)
    if shutil.which('shellcheck'):
        subprocess.run(['shellcheck', script], check=True)


@pytest.mark.parametrize('code, queued_again', [(0, False), (1, False), (75, True)])
def test_slurm_queues_a_run_again_that_was_told_to_leave(tmp_path, code, queued_again):
    for name, body in {'srun': f'printf "%s\\n" "$@" >srun; exit {code}', 'scontrol': 'echo "$@" >scontrol'}.items():
        (tmp_path / name).write_text(f'#!/bin/bash\n{body}\n')
        (tmp_path / name).chmod(0o755)
    environment = {'PATH': f'{tmp_path}:/usr/bin:/bin', 'SLURM_SUBMIT_DIR': str(tmp_path / 'work'), 'SLURM_JOB_ID': '7'}
    (tmp_path / 'work').mkdir()
    line = ['bash', LAUNCH / 'train.sbatch', '--config=configs/small.py', '--workdir=a b']
    assert subprocess.run(line, env=environment).returncode == code
    spoken = (tmp_path / 'work' / 'srun').read_text().splitlines()
    assert spoken == ['python', '-m', 'dsconv.main', '--coordinator=auto', '--config=configs/small.py', '--workdir=a b']
    queued = tmp_path / 'work' / 'scontrol'
    assert queued.exists() == queued_again
    assert not queued_again or queued.read_text() == 'requeue 7\n'
