"""Real processes of `python -m dsconv.main`: killed and started again, two at once, and none too many."""

import json
import signal
import subprocess

import numpy as np
import pytest

from tests.runs import command, finish, last_state, metrics, several, start, steps, wait_for


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp('uninterrupted') / 'run'
    errors = finish(start(command(workdir)))
    assert 'test: accuracy' in errors
    return workdir


def test_a_run_ends_with_its_report(uninterrupted):
    report = json.loads((uninterrupted / 'report' / 'report.json').read_text())
    assert {'dataset', 'split', 'num_examples', 'accuracy', 'top5_accuracy', 'loss', 'per_class', 'confusion_matrix',
            'class_names', 'checkpoint_step', 'parameters'} <= set(report)  # fmt: skip
    assert report['num_examples'] == np.sum(report['confusion_matrix']) == 360


def test_a_killed_run_goes_on_to_the_same_bits(uninterrupted, tmp_path):
    workdir = tmp_path / 'run'
    process = start(command(workdir))
    wait_for((workdir / 'checkpoints' / '19').exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    killed_at = max(line['step'] for line in metrics(workdir))
    assert killed_at < 57
    finish(start(command(workdir)))
    assert metrics(workdir) == metrics(uninterrupted)
    assert last_state(workdir) == last_state(uninterrupted)


def leave_in_background(workdir, number):
    """Starts the run under `nohup` in a job that ignores SIGINT, sends the signal after a line of the log."""
    before = len(metrics(workdir)) if workdir.exists() else 0
    line = ['sh', '-c', 'trap "" INT; exec nohup "$@"', 'sh', *command(workdir, '--config.epochs=90')]
    process = start(line, stdin=subprocess.PIPE)
    wait_for(lambda: (workdir / 'metrics.jsonl').exists() and len(metrics(workdir)) > before, process)
    process.send_signal(number)
    assert 'which is saved; the same command goes on' in finish(process, 75)


def test_a_background_job_that_ignores_sigint_leaves_on_either_signal_and_saves(tmp_path):
    for number in (signal.SIGINT, signal.SIGTERM):
        leave_in_background(tmp_path / 'run', number)
        since_line = steps(tmp_path / 'run')[-1] - metrics(tmp_path / 'run')[-1]['step']
        assert 0 <= since_line < 7


def test_a_finished_run_says_so(uninterrupted):
    before = (uninterrupted / 'metrics.jsonl').read_bytes()
    assert 'is trained to its end' in finish(start(command(uninterrupted)))
    assert (uninterrupted / 'metrics.jsonl').read_bytes() == before


def test_the_config_json_of_a_run_makes_it_again_to_the_bit(uninterrupted, tmp_path):
    errors = finish(start(command(tmp_path, f'--config={uninterrupted / "config.json"}')))
    assert 'was made by' not in errors
    assert metrics(tmp_path) == metrics(uninterrupted)
    assert last_state(tmp_path) == last_state(uninterrupted)


def test_two_processes_leave_together_go_on_and_have_the_losses_of_one(uninterrupted, tmp_path):
    workdir = tmp_path / 'run'
    launcher = start(several(2, workdir))
    wait_for(lambda: (workdir / 'metrics.jsonl').exists() and metrics(workdir), launcher)
    launcher.send_signal(signal.SIGTERM)
    errors = finish(launcher, 75)
    assert errors.count('which is saved; the same command goes on') == 2
    assert max(line['step'] for line in metrics(workdir)) < 57
    finish(start(several(2, workdir)))
    alone, together = metrics(uninterrupted), metrics(workdir)
    assert [line['step'] for line in alone] == [line['step'] for line in together]
    for one, two in zip(alone, together, strict=True):
        assert one['loss'] == pytest.approx(two['loss'], rel=1e-4)
    assert (workdir / 'report' / 'report.json').exists()
