"""What a measurement was made on: the machine and the installed libraries."""

import contextlib
import os
import platform
from pathlib import Path

import jax

from dsconv.process import versions

# What a measurement may depend on, where it is installed.
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'pillow', 'torch', 'torchvision', 'keras', 'tensorflow')
PACKAGES += ('tensorflow-cpu', 'tensorflow-datasets')


def cpu_model() -> str:
    """Returns the processor's name, or its architecture where there is no name to read."""
    with contextlib.suppress(OSError):
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def surroundings() -> dict:
    """Returns what a benchmark's JSON says of the machine: `devices`, `cores` for this process, `cpu`, `versions`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    devices = f'{jax.device_count()} × {jax.devices()[0].device_kind}'
    return {'devices': devices, 'cores': cores, 'cpu': cpu_model(), 'versions': versions(PACKAGES)}
