"""Signals that are really sent, to this process and to others."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import pytest

from dsconv.config import ROOT
from dsconv.errors import Preempted
from dsconv.training.mesh import make_mesh
from dsconv.training.stopping import StopRequest
from tests.runs import wait_for

BLOCKED = """
import hashlib, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a background job of a script
from dsconv.training.mesh import make_mesh
from dsconv.training.stopping import StopRequest
with StopRequest(make_mesh()) as stop:
    print('ready', flush=True)
    hashlib.pbkdf2_hmac('sha256', b'x', b'y', 10**9)  # as a compilation: Python's main thread gets no turn
"""


@pytest.mark.parametrize(('number', 'processes'), [(signal.SIGTERM, 1), (signal.SIGINT, 2)])
def test_a_signal_asks_for_a_stop_that_is_not_forgotten_and_the_handlers_come_back(number, processes, monkeypatch):
    monkeypatch.setattr(jax, 'process_count', lambda: processes)
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(Preempted), StopRequest(make_mesh()) as stop:
        assert not stop.reached()
        os.kill(os.getpid(), number)
        wait_for(stop.reached)
    with pytest.raises(ZeroDivisionError), StopRequest(make_mesh()):
        raise ZeroDivisionError
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert signal.set_wakeup_fd(-1) == -1


def test_a_second_sigterm_is_patient_and_a_second_ctrl_c_is_not():
    process = subprocess.Popen([sys.executable, '-c', BLOCKED], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout.readline() == 'ready\n'
        for number in (signal.SIGTERM, signal.SIGTERM):
            process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()


def test_elsewhere_than_in_the_main_thread_signals_stay_as_they_are():
    def run():
        with StopRequest(make_mesh()) as stop:
            return signal.getsignal(signal.SIGTERM), stop.reached()

    with ThreadPoolExecutor() as threads:
        assert threads.submit(run).result() == (signal.getsignal(signal.SIGTERM), False)
