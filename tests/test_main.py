"""Tests processes of `python -m dsconv.main`: stopped by a signal, killed and resumed; two processes in one run."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.runs import command, finish, last_state, metrics, several, start, steps, wait_for


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp('uninterrupted') / 'run'
    assert 'test: accuracy' in finish(start(command(workdir)))
    return workdir


def test_a_finished_run_says_so(uninterrupted):
    before = (uninterrupted / 'metrics.jsonl').read_bytes()
    line = [sys.executable, '-m', 'dsconv.main', f'--config={uninterrupted / "config.json"}']  # in the workdir
    output = finish(start(line))
    assert 'has already finished' in output and 'test: accuracy' in output
    assert (uninterrupted / 'metrics.jsonl').read_bytes() == before


def test_a_run_from_config_json_that_is_interrupted_and_then_killed_goes_on_to_the_same_bits(uninterrupted, tmp_path):
    line = [sys.executable, '-m', 'dsconv.main', f'--config={uninterrupted / "config.json"}', f'--workdir={tmp_path}']
    # As in a background job of a script, SIGINT is ignored at the start.
    process = start(['sh', '-c', 'trap "" INT; exec nohup "$@"', 'sh', *line], stdin=subprocess.PIPE)
    wait_for(lambda: metrics(tmp_path), process)
    process.send_signal(signal.SIGINT)
    assert 'a checkpoint was saved; run the same command again to resume' in finish(process, 75)
    assert 0 <= steps(tmp_path)[-1] - metrics(tmp_path)[-1]['step'] < 7

    process = start(line)
    wait_for((tmp_path / 'checkpoints' / '19').exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert max(line['step'] for line in metrics(tmp_path)) < 57

    assert 'was made with other versions' not in finish(start(line))
    assert metrics(tmp_path) == metrics(uninterrupted)
    assert last_state(tmp_path) == last_state(uninterrupted)


def test_two_processes_leave_together_go_on_and_have_the_losses_of_one(uninterrupted, tmp_path):
    launcher = start(several(2, tmp_path))
    wait_for(lambda: metrics(tmp_path), launcher)
    launcher.send_signal(signal.SIGTERM)
    assert finish(launcher, 75).count('a checkpoint was saved; run the same command again to resume') == 2
    assert max(line['step'] for line in metrics(tmp_path)) < 57
    finish(start(several(2, tmp_path)))
    alone, together = metrics(uninterrupted), metrics(tmp_path)
    assert [line['step'] for line in alone] == [line['step'] for line in together]
    np.testing.assert_allclose([line['loss'] for line in together], [line['loss'] for line in alone], rtol=1e-4)
    assert (tmp_path / 'report' / 'report.json').exists()
