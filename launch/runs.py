"""A command on the workers of a TPU VM: started, watched to its end, started again after a preemption."""

import re
import shlex
import time

from dsconv.errors import InputError, RunError
from dsconv.training.runtime import PREEMPTED as AGAIN
from launch.vm import SILENCES, TpuVm


def carry_out(vm: TpuVm, run: str, command: list[str], prepare, restarts: int, worker: str = 'all') -> None:
    """Starts `command` under the name `run` on the workers, unless it is running there, and waits for its end.

    Where it, or the VM, was told to leave, it is started again, after `prepare()` has seen to the VM, at most
    `restarts` times.

    Raises:
      InputError: the command ended with exit code 2.
      RunError: it ended with another one but 0, or gcloud failed.
    """
    for restart in range(restarts + 1):
        try:
            if restart:
                prepare()
            vm.ssh(on_worker('restart' if restart else 'start', run, *command), worker)
            code = _wait(vm, run, worker)
        except RunError:
            if _is_ready(vm) is not False:
                raise
            code = AGAIN
        if code == 0:
            return
        if code != AGAIN:
            raise (InputError if code == 2 else RunError)(f'{run} ended with exit code {code}; its log is above')
        vm.commands.say(f'{run} was told to leave')
    raise RunError(f'{run} was told to leave {restarts + 1} times: the same command goes on')


def on_worker(verb: str, *words: str) -> str:
    """The shell's command for a function of `on_worker.sh`."""
    return shlex.join(['bash', 'dsconv/launch/on_worker.sh', verb, *words])


def _wait(vm, run, worker):
    """The exit code of the run; `AGAIN` where it ended with its VM."""
    silences = 0
    while True:
        vm.attempt(on_worker('follow', run), '0')  # ends with the run, or with the connection
        statuses = re.findall(r'^run: (\w+)$', vm.ask(on_worker('status', run), 'run: 0', worker), re.MULTILINE)
        if 'stopped' in statuses and 'running' not in statuses:
            raise RunError(f'{run} was stopped, and is saved: the same command goes on')
        ended = bool(statuses) and 'running' not in statuses
        if ended and (code := _joint_code(statuses)) in (0, 2):
            return code
        ready = _is_ready(vm) if ended or not statuses else True
        if ready is False:
            return AGAIN
        if ended:
            return code
        silences = 0 if statuses else silences + bool(ready)
        if silences > SILENCES:
            raise RunError(f'{vm.name} is said to be ready, yet cannot be reached')
        time.sleep(vm.poll_seconds)


def _is_ready(vm):
    """None where it cannot be said: without a network here, a run that goes well there must not count as failed."""
    try:
        return vm.is_ready()
    except RunError as error:
        vm.commands.say(f'nothing is known of {vm.name}: {error}')
        return None


def _joint_code(statuses):
    """Of several workers' exit codes, the one that says what to do."""
    codes = [AGAIN if status == 'lost' else int(status) for status in statuses]
    return next((code for code in (AGAIN, 2) if code in codes), max(codes))
