"""What a measurement was made on: the machine and the installed libraries."""

import contextlib
import os
import platform
from importlib import metadata
from pathlib import Path


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def cpu_model() -> str:
    """The processor's name, or, where there is none to read, its architecture."""
    with contextlib.suppress(OSError):
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def versions(packages) -> dict[str, str]:
    """Name → version of those of `packages` that are installed, and Python's."""
    found = {'python': platform.python_version()}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
