"""Real processes of `python -m dsconv.main`: killed and started again, two at once, and none too many."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from dsconv import config as configuration
from dsconv.training.report import restore_network
from tests.conftest import TINY

ARGUMENTS = [f'--config.{key}={value}' for key, value in TINY.items()]


def command(workdir, *arguments):
    line = ['-m', 'dsconv.main', '--config=configs/digits.py', f'--workdir={workdir}', *ARGUMENTS, *arguments]
    return [sys.executable, *line]


def environment(devices=1):
    return os.environ | {'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}'}


def start(workdir, *arguments, devices=1):
    return subprocess.Popen(
        command(workdir, *arguments), env=environment(devices), cwd=configuration.ROOT, stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return errors


def metrics(workdir):
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ('images_per_second', 'input_wait_fraction')} for line in lines]


def latest_variables(workdir):
    return restore_network(workdir, configuration.load_run(workdir), 'latest')[1]


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp('uninterrupted') / 'run'
    errors = finish(start(workdir))
    assert 'test: accuracy' in errors
    return workdir


def test_a_run_ends_with_its_report(uninterrupted):
    report = json.loads((uninterrupted / 'report' / 'report.json').read_text())
    assert {'dataset', 'split', 'num_examples', 'accuracy', 'top5_accuracy', 'loss', 'per_class', 'confusion_matrix',
            'class_names', 'checkpoint_step', 'parameters'} <= set(report)  # fmt: skip
    assert report['num_examples'] == np.sum(report['confusion_matrix']) == 360


def test_a_killed_run_goes_on_to_the_same_bits(uninterrupted, tmp_path):
    workdir = tmp_path / 'run'
    process = start(workdir)
    first_checkpoint = workdir / 'checkpoints' / '19'
    while not first_checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    killed_at = max(line['step'] for line in metrics(workdir))
    assert killed_at < 57
    finish(start(workdir))
    assert metrics(workdir) == metrics(uninterrupted)
    jax.tree.map(np.testing.assert_array_equal, latest_variables(workdir), latest_variables(uninterrupted))


def test_a_finished_run_says_so(uninterrupted):
    before = (uninterrupted / 'metrics.jsonl').read_bytes()
    assert 'is trained to its last epoch' in finish(start(uninterrupted))
    assert (uninterrupted / 'metrics.jsonl').read_bytes() == before


def test_two_processes_have_the_losses_of_one(uninterrupted, tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{free.getsockname()[1]}'
    peers = [
        start(tmp_path, f'--coordinator={address}', '--num-processes=2', f'--process-id={process_id}')
        for process_id in (0, 1)
    ]
    for peer in peers:
        finish(peer)
    alone, together = metrics(uninterrupted), metrics(tmp_path)
    assert [line['step'] for line in alone] == [line['step'] for line in together]
    for one, two in zip(alone, together, strict=True):
        assert one['loss'] == pytest.approx(two['loss'], rel=1e-4)
    assert (tmp_path / 'report' / 'report.json').exists()
