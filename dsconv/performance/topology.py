"""Compiles the training step for a TPU slice, with libtpu, on a machine without a TPU."""

import os
from importlib import util

import jax
from jax.experimental import topologies

from dsconv.errors import InputError, RunError, did_you_mean, status_of
from dsconv.files import describe
from dsconv.training.setup import build_training, compile_steps

# Without these variables, libtpu asks the network for its TPU VM, and logs many lines when it finds none.
_NO_TPU_VM = {
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_WORKER_HOSTNAMES': 'localhost',
    'TPU_WORKER_ID': '0',
    'TPU_ACCELERATOR_TYPE': 'v3-8',
    'TPU_MIN_LOG_LEVEL': '3',
    'TPU_STDERR_LOG_LEVEL': '3',
}
_CUBES = {8: '2x2x1', 16: '2x2x2', 32: '2x2x4'}
_SQUARES = {1: '1x1', 4: '2x2', 8: '2x4', 16: '4x4', 256: '16x16'}
_SIDES = {'v2': {8: '2x2', 32: '4x4'}, 'v3': {8: '2x2x1', 32: '4x4x1'}}
_SIDES |= {'v4': _CUBES, 'v5e': _SQUARES, 'v5p': _CUBES, 'v6e': _SQUARES}
# Common names, e.g. v3-8 → the compiler's names, e.g. v3:2x2x1. The number in a common name counts chips for v5e and
# v6e, and cores for the other kinds. A device is a core for v2 and v3, and a chip for the other kinds.
SLICES = {f'{kind}-{number}': f'{kind}:{own}' for kind, sides in _SIDES.items() for number, own in sides.items()}


def topology_devices(name: str) -> list:
    """Returns the devices of a TPU slice, as targets to compile for; `name` is a key of `SLICES` or the compiler's.

    Call it before any computation: it restricts the process to the CPU. Raises InputError if libtpu is not installed
    or does not know the slice; RunError if another process uses libtpu.
    """
    for variable, value in _NO_TPU_VM.items():
        os.environ.setdefault(variable, value)
    jax.config.update('jax_platforms', 'cpu')
    jax.config.update('jax_enable_compilation_cache', False)  # a program for absent devices cannot be read back
    own, options = SLICES.get(name, name), {}
    if own.startswith(('v4:', 'v5p:')):
        options['chip_config_name'] = 'megacore'  # the two cores of a chip are one device, as on a TPU VM
    if own.endswith(':1x1'):
        options['chips_per_host_bounds'] = (1, 1, 1)
    if util.find_spec('libtpu') is None and 'TPU_LIBRARY_PATH' not in os.environ:
        raise InputError("compiling for a TPU needs its compiler, for x86-64 Linux only: pip install 'jax[tpu]'")
    try:
        # The compiler reads an empty name as a v2.
        description = topologies.get_topology_desc(platform='tpu', topology_name=own or 'none', **options)
    except Exception as error:
        if status_of(error) == 'ABORTED':  # libtpu's lock file
            raise RunError(
                f'another process uses libtpu, which serves one at a time: wait for it to end ({describe(error)})'
            ) from error
        if status_of(error) not in ('INVALID_ARGUMENT', 'NOT_FOUND', 'UNIMPLEMENTED', 'OUT_OF_RANGE'):
            raise
        meant = did_you_mean(name, SLICES) or ';'
        raise InputError(
            f'topology {name} is not known to the compiler{meant} use one of {", ".join(SLICES)}, or a name of the '
            'compiler, e.g. v3:2x2x1'
        ) from error
    return list(description.devices)


def compile_step(config, devices: list):
    """Compiles one training step of a resolved config for `devices`, as `dsconv.main` does."""
    training = build_training(config, 100 * config.batch_size, devices)
    return compile_steps(config, training, jax.eval_shape(training.new_state), 1)
