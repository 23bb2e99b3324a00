"""A run's workdir: whose it is, and what is written down about the run."""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import jax
from jax.experimental import multihost_utils

from dsconv import config as configuration
from dsconv.errors import InputError

# What may change when a run is resumed. Everything else would make it another run.
MAY_CHANGE = (
    'epochs',
    'steps_per_dispatch',
    'log.',
    'eval.',
    'checkpoint.',
    'dataset.data_dir',
    'dataset.archive',
    'accumulation_steps',
    'model.fold',
    'model.depthwise_form',
    'model.remat',
)
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'ml_collections', 'tensorflow-datasets')


def check_workdir(workdir: Path, config) -> None:
    """Makes `workdir` where there is none.

    Raises:
      InputError: it cannot be made, or holds another run than that of the resolved `config`; the keys are named.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'--workdir={workdir} cannot be made: {error.strerror}; give another directory') from error
    if not (workdir / 'config.json').exists():
        return
    differing = [
        line
        for line in configuration.differences(configuration.load_run(workdir), config)
        if not line.startswith(MAY_CHANGE)
    ]
    if differing:
        raise InputError(
            f'{workdir} holds another run ({"; ".join(differing)}): take another --workdir, or the config that it '
            f'was made with'
        )


def write_config(workdir: Path, config) -> None:
    """Writes `workdir/config.json` from process 0, once every process has read the old one.

    Raises:
      InputError: it cannot be written.
    """
    multihost_utils.sync_global_devices('workdir checked')
    if jax.process_index() == 0:
        try:
            configuration.save_run(workdir, config, _facts())
        except OSError as error:
            raise InputError(f'--workdir={workdir} cannot be written: {error.strerror}') from error


def command_line() -> str:
    """What the person typed."""
    return shlex.join(['python', *sys.orig_argv[1:]])


def _facts() -> dict:
    devices = jax.devices()
    return {
        'command': command_line(),
        'devices': f'{len(devices)} × {devices[0].device_kind}',
        'processes': jax.process_count(),
        'versions': {'python': platform.python_version()}
        | {package: importlib.metadata.version(package) for package in PACKAGES},
        'git_revision': _git_revision(),
    }


def _git_revision() -> str | None:
    """The checkout's commit, with `+changes` where files differ from it; None outside a checkout."""

    def git(*arguments):
        return subprocess.run(
            ['git', '-C', str(configuration.ROOT), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git('rev-parse', 'HEAD') + ('+changes' if git('status', '--porcelain') else '')
    except (OSError, subprocess.CalledProcessError):
        return None
