"""The worker's script on this machine, in a home of its own."""

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from dsconv import config as configuration

LEAVING = 'import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); print("up", flush=True); '


@pytest.fixture
def worker(tmp_path):
    """Calls a function of the script as ssh does, and returns what it prints."""
    (tmp_path / 'venv' / 'bin').mkdir(parents=True)
    (tmp_path / 'venv' / 'bin' / 'python').symlink_to(sys.executable)
    (tmp_path / 'dsconv').symlink_to(configuration.ROOT)

    def call(*words, **environment):
        line = shlex.join(['bash', 'dsconv/launch/on_worker.sh', *words])
        environment = os.environ | {'HOME': str(tmp_path)} | environment
        return subprocess.run(line, shell=True, cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE,
                              text=True, timeout=20).stdout  # fmt: skip

    yield call
    call('stop', 'r', PATIENCE='0')


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_run_ends_with_its_exit_code_and_log(worker, tmp_path):
    worker('start', 'r', 'env', 'WORD=a b', 'python', '-c', 'import os, sys; print(os.environ["WORD"]); sys.exit(3)')
    wait_for(lambda: worker('status', 'r') != 'run: running\n')
    assert worker('status', 'r') == 'run: 3\n'
    assert worker('follow', 'r') == (tmp_path / 'runs' / 'r' / 'log').read_text() == 'a b\n'


def test_a_run_outlives_its_connection_and_is_not_started_twice(worker, tmp_path):
    worker('start', 'r', 'python', '-c', LEAVING + 'time.sleep(60)')
    pid = (tmp_path / 'runs' / 'r' / 'pid').read_text()
    assert os.getsid(int(pid)) != os.getsid(0)
    assert worker('start', 'r', 'python', '-c', '') == 'r is running\n'
    assert worker('status', 'r') == 'run: running\n'
    assert (tmp_path / 'runs' / 'r' / 'pid').read_text() == pid


def test_the_log_is_followed_to_the_end_of_the_run(worker):
    worker('start', 'r', 'python', '-c', 'import time; print("one", flush=True); time.sleep(1); print("two")')
    assert worker('follow', 'r').splitlines()[-2:] == ['one', 'two']


def test_a_run_that_is_stopped_may_save_first(worker, tmp_path):
    worker('start', 'r', 'python', '-c', LEAVING + 'time.sleep(60)')
    wait_for(lambda: 'up' in (tmp_path / 'runs' / 'r' / 'log').read_text())
    worker('stop', 'r')
    assert (tmp_path / 'runs' / 'r' / 'exit_code').read_text() == '75\n'
    assert worker('status', 'r') == 'run: stopped\n'
    worker('start', 'r', 'python', '-c', '')
    wait_for(lambda: worker('status', 'r') == 'run: 0\n')


def test_a_run_that_does_not_leave_is_ended_and_started_again(worker, tmp_path):
    deaf = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print("up", flush=True); time.sleep(60)'
    worker('start', 'r', 'python', '-c', deaf)
    wait_for(lambda: 'up' in (tmp_path / 'runs' / 'r' / 'log').read_text())
    worker('restart', 'r', 'python', '-c', '', PATIENCE='0')
    wait_for(lambda: worker('status', 'r') == 'run: 0\n')


def test_a_run_whose_machine_went_down_is_lost(worker, tmp_path):
    worker('start', 'r', 'python', '-c', '')
    wait_for(lambda: worker('status', 'r') == 'run: 0\n')
    worker('start', 'r', 'python', '-c', 'import time; time.sleep(60)')
    pid = int((tmp_path / 'runs' / 'r' / 'pid').read_text())
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    wait_for(lambda: worker('status', 'r') == 'run: lost\n')
    (tmp_path / 'runs' / 'r' / 'pid').write_text(str(os.getpid()))  # another process has its number now
    assert worker('follow', 'r') == ''
    worker('stop', 'r')
