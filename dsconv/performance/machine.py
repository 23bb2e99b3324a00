"""The machine and the installed libraries of a measurement."""

import contextlib
import os
import platform
from pathlib import Path

from dsconv.process import versions

# Packages that a measurement may depend on, if they are installed.
PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'pillow', 'torch', 'torchvision', 'keras', 'tensorflow')
PACKAGES += ('tensorflow-cpu', 'tensorflow-datasets')


def cpu_model() -> str:
    """Returns the processor's name, or its architecture if the name is unknown."""
    with contextlib.suppress(OSError):
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def surroundings() -> dict:
    """Returns the machine's keys of a benchmark's JSON: `devices`, `cores` (of this process), `cpu`, `versions`."""
    import jax

    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    devices = f'{jax.device_count()} × {jax.devices()[0].device_kind}'
    return {'devices': devices, 'cores': cores, 'cpu': cpu_model(), 'versions': versions(PACKAGES)}
