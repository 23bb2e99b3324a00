"""A TPU VM or pod slice, or the queued request for one, by the gcloud CLI.

Flags and states: `gcloud compute tpus tpu-vm` and `queued-resources`, and the Cloud TPU API v2 (State of Node and of
QueuedResourceState).
"""

import time
from dataclasses import dataclass

from dsconv.errors import InputError, RunError
from launch.commands import Commands

# The images that the vendor's page on TPU software versions names for JAX.
RUNTIMES = {
    'v2': 'tpu-ubuntu2204-base',
    'v3': 'tpu-ubuntu2204-base',
    'v4': 'tpu-ubuntu2204-base',
    'v5litepod': 'v2-alpha-tpuv5-lite',
    'v5p': 'v2-alpha-tpuv5',
    'v6e': 'v2-alpha-tpuv6e',
}
READY = {'tpu-vm': 'READY', 'queued-resources': 'ACTIVE'}
LEAVING = ('DELETING', 'STOPPING', 'SUSPENDING')
DEAD = ('PREEMPTED', 'TERMINATED', 'FAILED', 'SUSPENDED')  # never ready again: to be deleted and made anew
PARKED = ('STOPPED', 'HIDDEN')  # until a person does something
SILENCES = 20  # answers that may fail to come, one after another
CLOUD_PLATFORM = 'https://www.googleapis.com/auth/cloud-platform'  # what the workers may ask for: the bucket among it


@dataclass
class TpuVm:
    """A TPU VM by its name. `made` says whether this object asked for it."""

    name: str
    zone: str
    commands: Commands
    project: str | None = None
    type: str | None = None
    version: str | None = None
    spot: bool = False
    queued: bool = False
    valid_until: str | None = None
    service_account: str | None = None
    poll_seconds: float = 30
    made: bool = False

    def state(self, pretended: str = '') -> str:
        """The state of the VM, or of the request for it where it is `queued`; '' where there is none."""
        field = 'state.state' if self.queued else 'state'
        words = self._words(self._kind, 'describe', self.name, f'--format=value({field})')
        code, answer = self.commands.read(*words, pretended=pretended)
        if code and 'NOT_FOUND' in answer:
            return ''
        if code:
            raise RunError(answer)
        return answer

    def is_ready(self) -> bool:
        """Whether it can be reached by ssh, as far as the service knows."""
        return self.state(pretended=READY[self._kind]) == READY[self._kind]

    def create(self) -> None:
        """Sees to it that the VM is there and ready: makes it unless it is there, and anew if it was preempted."""
        state = self._settled_state()
        if state in DEAD:
            self.delete()
        if not state or state in DEAD:
            self._request()
        while (state := self._state_in_the_end()) != READY[self._kind]:
            if state in PARKED:
                raise InputError(f'{self.name} is {state}: start it by gcloud, or delete it')
            if not state or state in DEAD:
                raise RunError(f'{self.name} did not become ready: it is {state or "gone"}')
            self._pause(state)

    def delete(self) -> None:
        """Deletes the VM, and the request for it where it is `queued`, unless there is none."""
        if not self._settled_state(pretended=READY[self._kind]):
            self.commands.say(f'{self.name} is not there')
            return
        force = ['--force'] if self.queued else []  # with the VM that the request brought
        self.commands.run(*self._words(self._kind, 'delete', self.name, *force))

    def ssh(self, command: str, worker: str = 'all') -> None:
        """Runs a shell's command on one worker, or on all of them at once."""
        self.commands.run(*self._ssh(command, worker))

    def attempt(self, command: str, worker: str = 'all') -> int:
        """The same for a command that may fail, or its connection. Returns gcloud's exit code."""
        return self.commands.attempt(*self._ssh(command, worker))[0]

    def ask(self, command: str, pretended: str, worker: str = 'all') -> str:
        """What a command prints on the workers; '' where they cannot be asked."""
        code, answer = self.commands.read(*self._ssh(command, worker), pretended=pretended)
        return '' if code else answer

    def send(self, file: str) -> None:
        """Copies a file into the home directory of all workers."""
        self.commands.run(*self._words('tpu-vm', 'scp', file, f'{self.name}:', '--worker=all'))

    def _request(self):
        if not self.type:
            raise InputError(f'{self.name} must be made, and that needs --type, as --type=v3-8')
        self.made = True  # before it is: what fails half-way is deleted too
        version = self.version or RUNTIMES[self.type.split('-')[0]]
        flags = [f'--accelerator-type={self.type}', f'--scopes={CLOUD_PLATFORM}']
        if self.queued:
            flags += [f'--runtime-version={version}', f'--node-id={self.name}']
            flags += [f'--valid-until-duration={self.valid_until}'] if self.valid_until else []
        else:
            flags += [f'--version={version}']
        flags += ['--spot'] if self.spot else []
        flags += [f'--service-account={self.service_account}'] if self.service_account else []
        self.commands.run(*self._words(self._kind, 'create', self.name, *flags))

    def _settled_state(self, pretended=''):
        while (state := self.state(pretended)) in LEAVING:
            self._pause(state)
        return state

    def _state_in_the_end(self):
        """Asked again where no answer comes: what has waited for hours is not given up for want of a network."""
        for _ in range(SILENCES):
            try:
                return self.state(pretended=READY[self._kind])
            except RunError as error:
                self._pause(f'out of sight: {error}')
        return self.state(pretended=READY[self._kind])

    def _pause(self, state):
        self.commands.say(f'{self.name} is {state}')
        time.sleep(self.poll_seconds)

    @property
    def _kind(self):
        return 'queued-resources' if self.queued else 'tpu-vm'

    def _ssh(self, command, worker):
        return self._words('tpu-vm', 'ssh', self.name, f'--worker={worker}', f'--command={command}')

    def _words(self, *words):
        project = [f'--project={self.project}'] if self.project else []
        return ['gcloud', 'compute', 'tpus', *words, f'--zone={self.zone}', *project, '--quiet']
