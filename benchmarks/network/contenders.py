"""The libraries that `benchmarks.network.comparison` measures, what they need, and their processes' environment."""

import importlib.util
import os
import shutil
import sys
from typing import NamedTuple

from dsconv.errors import InputError
from dsconv.process import ALLOCATOR, SWITCH

OURS = 'dsconv'
TUNED = '+allocator'
INSTALL = 'pip install -r benchmarks/requirements.txt'
# `prepare_process` sets it for this project's commands; it would slow TensorFlow's layers.
NOT_FOR_PEERS = ('TF_ENABLE_ONEDNN_OPTS',)


class Peer(NamedTuple):
    """What `--peers` names: a module with `prepare`, the variant that it is told, and the Python modules it needs."""

    module: str
    variant: str
    needs: tuple[str, ...]


PEERS = {
    'torch': Peer('benchmarks.network.torch_peer', 'eager', ('torch',)),
    'torch-compile': Peer('benchmarks.network.torch_peer', 'compile', ('torch',)),
    'keras-tensorflow': Peer('benchmarks.network.keras_peer', 'tensorflow', ('keras', 'tensorflow')),
    'keras-jax': Peer('benchmarks.network.keras_peer', 'jax', ('keras',)),
}


class Contender(NamedTuple):
    """A process of every round: a module, the settings that it alone gets, and its environment variables."""

    module: str
    settings: dict
    environment: dict


def check_installed(peers) -> None:
    """Raises InputError where what a peer needs is not there, without importing it."""
    for name in peers:
        missing = [module for module in PEERS[name].needs if importlib.util.find_spec(module) is None]
        if missing:
            raise InputError(f'--peers={name} needs {" and ".join(missing)}: {INSTALL}, or take --peers=none')
    if 'torch-compile' in peers and not (os.environ.get('CXX') or shutil.which('g++') or shutil.which('clang++')):
        raise InputError('--peers=torch-compile: there is no C++ compiler, which torch.compile needs on a CPU')


def check_same_network(config) -> None:
    """Raises InputError unless the peers have what `config` asks for."""
    for key, has in (('name', 'dsconv'), ('norm', 'batch'), ('dtype', 'float32')):
        if config.model[key] != has:
            raise InputError(f'model.{key}={config.model[key]}: the peers have {has} alone; take --peers=none')
    if config.optimizer.name != 'adamw':
        raise InputError(f'optimizer.name={config.optimizer.name}: the peers have adamw alone; take --peers=none')


def contenders(peers) -> dict[str, Contender]:
    """Returns name → contender: this project as its commands run, each peer as installed and with our allocator.

    The allocator settings are glibc's: elsewhere than on Linux they are left out.
    """
    own = (SWITCH, *ALLOCATOR) if os.environ.get(SWITCH) == 'tuned' else ()  # set by this project for this process
    environment = {name: value for name, value in os.environ.items() if name not in (*own, *NOT_FOR_PEERS)}
    environment |= {'JAX_PLATFORMS': 'cpu', 'CUDA_VISIBLE_DEVICES': ''}
    found = {OURS: Contender('benchmarks.network.dsconv_peer', {'as_command': True}, environment)}
    for name in peers:
        found[name] = Contender(PEERS[name].module, {'variant': PEERS[name].variant}, environment)
        if sys.platform == 'linux':
            found[name + TUNED] = found[name]._replace(environment=environment | ALLOCATOR)
    return found
