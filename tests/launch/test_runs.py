"""Runs that end, fail, are preempted and fall silent, with a gcloud that only pretends."""

import pytest

from dsconv.errors import InputError, RunError
from launch import runs
from launch.commands import Commands
from launch.runs import carry_out
from launch.vm import TpuVm

COMMAND = ['python', '-m', 'dsconv.main']


def carried_out(cloud, restarts=5, **script):
    """The calls of a run on a VM that is ready."""
    cloud.script(state='READY', **script)
    vm = TpuVm('t', 'europe-west4-a', Commands(), type='v4-32', poll_seconds=0)
    carry_out(vm, 'r', COMMAND, vm.create, restarts)
    return [verb for verb in cloud.verbs() if verb != 'describe']


def test_a_lost_connection_is_taken_up_again(cloud):
    lost = ['on_worker.sh follow', 255, 'connection lost']
    assert carried_out(cloud, runs=['run: running\nrun: running', 'run: 0\nrun: running', 'run: 0\nrun: 0'],
                       failures=[lost, lost]) == ['start', *['follow', 'status'] * 3]  # fmt: skip


@pytest.mark.parametrize('status', [['run: lost', 'PREEMPTED'], ['run: 75\nrun: 75', 'PREEMPTED'],
                                    ['run: 1\nrun: 134', 'PREEMPTED'], ['', 'TERMINATED']])  # fmt: skip
def test_a_preempted_run_goes_on_on_a_new_vm_by_the_same_command(cloud, status):
    verbs = carried_out(cloud, runs=[status, 'run: 0\nrun: 0'])
    assert verbs == ['start', 'follow', 'status', 'delete', 'create', 'restart', 'follow', 'status']
    first, second = (call for call in cloud.calls() if any(' r python' in word for word in call))
    assert [word.replace('restart', 'start') for word in second] == first


@pytest.mark.parametrize('status', ['run: 75\nrun: 75', 'run: 134\nrun: 75', 'run: lost\nrun: 1'])
def test_a_run_that_was_told_to_leave_goes_on_where_it_is(cloud, status):
    assert carried_out(cloud, runs=[status, 'run: 0']) == ['start', 'follow', 'status', 'restart', 'follow', 'status']


def test_a_vm_that_is_preempted_while_it_is_prepared_is_made_again(cloud):
    cloud.script(state='READY', created=['READY', 'PREEMPTED'], runs=[['run: 75', 'PREEMPTED'], 'run: 0'],
                 failures=[['on_worker.sh install', 255, 'ERROR: gone']])  # fmt: skip
    vm = TpuVm('t', 'europe-west4-a', Commands(), type='v4-32', poll_seconds=0)

    def prepare():
        vm.create()
        if cloud.verbs().count('create') == 1:
            vm.ssh('bash dsconv/launch/on_worker.sh install')

    carry_out(vm, 'r', COMMAND, prepare, 5)
    made = [verb for verb in cloud.verbs() if verb in ('create', 'install', 'restart')]
    assert made == ['create', 'install', 'create', 'restart']


@pytest.mark.parametrize('status, error', [('run: 1\nrun: 134', RunError), ('run: 2\nrun: 1', InputError)])
def test_a_run_that_fails_is_not_started_again(cloud, status, error):
    with pytest.raises(error, match='exit code'):
        carried_out(cloud, runs=[status])
    assert cloud.verbs().count('start') == 1


def test_a_run_that_is_stopped_by_hand_is_not_started_again(cloud):
    with pytest.raises(RunError, match='r was stopped, and is saved'):
        carried_out(cloud, runs=['run: running\nrun: stopped', 'run: stopped\nrun: stopped'])
    assert cloud.verbs().count('restart') == 0


def test_a_vm_that_leaves_while_a_run_is_started_is_made_again(cloud):
    failures = [['on_worker.sh start', 255, 'ERROR: connection refused']]
    cloud.script(state='SUSPENDING', states=['SUSPENDING', 'SUSPENDED'], runs=['run: 0\nrun: 0'], failures=failures)
    vm = TpuVm('t', 'europe-west4-a', Commands(), type='v4-32', poll_seconds=0)
    carry_out(vm, 'r', COMMAND, vm.create, 5)
    assert [verb for verb in cloud.verbs() if verb != 'describe'] == [
        'start', 'delete', 'create', 'restart', 'follow', 'status'
    ]  # fmt: skip


def test_there_is_an_end_to_starting_again(cloud):
    with pytest.raises(RunError, match='3 times'):
        carried_out(cloud, restarts=2, runs=['run: 75'] * 3)


def test_without_a_network_here_the_run_there_does_not_count_as_failed(cloud, monkeypatch):
    monkeypatch.setattr(runs, 'SILENCES', 1)
    silent = [['on_worker.sh status', 255, 'no network'], ['describe', 1, 'no network']]
    assert carried_out(cloud, runs=['run: 0'], failures=silent * 3)[-1] == 'status'


def test_a_vm_that_is_ready_but_never_answers_is_given_up(cloud, monkeypatch):
    monkeypatch.setattr(runs, 'SILENCES', 1)
    with pytest.raises(RunError, match='cannot be reached'):
        carried_out(cloud, runs=[''] * 3)
