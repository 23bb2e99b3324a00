"""The memory that a training step needs, the memory of the device, and the settings that reduce the need."""

import contextlib
import logging
import re
from pathlib import Path

import jax

from dsconv.errors import InputError, status_of
from dsconv.training.microbatching import accumulation_steps, most_accumulation_steps

logger = logging.getLogger('dsconv')
MEMORY_INFO, CGROUPS, OWN_CGROUP = Path('/proc/meminfo'), Path('/sys/fs/cgroup'), Path('/proc/self/cgroup')


def bytes_of(compiled) -> int | None:
    """Returns the bytes that a compiled program takes on each device, or None if its compiler does not report them."""
    if (memory := compiled.memory_analysis()) is None:
        return None
    parts = (getattr(memory, f'{part}_size_in_bytes') for part in ('argument', 'output', 'temp', 'generated_code'))
    return sum(parts) - memory.alias_size_in_bytes  # arguments and results that share memory


def image_bytes(dataset, num_examples: int) -> int:
    """Returns the bytes of the training images that `dataset.on_device` keeps on each device; 0 if it is off."""
    return dataset.on_device * num_examples * dataset.image_size**2 * dataset.channels


def tell_memory(config, mesh, compiled, num_examples: int) -> None:
    """Logs the memory that a compiled step and the training images need on the device, and the memory it has.

    Warns, naming the settings to change, if the memory is smaller; the compiler's count is too inexact for an error.
    On CPUs, all devices share the free memory of the machine or cgroup.
    """
    needed, devices = bytes_of(compiled), mesh.local_devices
    if devices[0].platform == 'cpu':
        there, sharing, has = _free_bytes(), len(devices), 'free memory is'
    else:
        limits = [(device.memory_stats() or {}).get('bytes_limit') for device in devices]
        there, sharing, has = min(limits) if all(limits) else None, 1, 'a device has'
    if needed is None or there is None:
        return
    needed = sharing * (needed + image_bytes(config.dataset, num_examples))
    text = f'memory: a step takes {needed / 1e9:.2f} GB, {has} {there / 1e9:.2f} GB'
    if needed > there:
        logger.warning('%s: %s', text, remedies(config, mesh))
    else:
        logger.info(text)


@contextlib.contextmanager
def naming_remedies(remedy: str):
    """Wraps work on the device; raises InputError, which ends with `remedy`, if the device runs out of memory."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if status_of(error) != 'RESOURCE_EXHAUSTED':
            raise
        reason = str(error).splitlines()[0].removeprefix('RESOURCE_EXHAUSTED: ').rstrip('.')
        raise InputError(f'the device does not have enough memory ({reason}): {remedy}') from error


def device_memory(mesh) -> dict[str, int]:
    """Returns the current and peak bytes in use on the fullest device, for a line of the log; {} on a CPU."""
    if not (stats := [stats for device in mesh.local_devices if (stats := device.memory_stats())]):
        return {}
    keys = [key for key in ('bytes_in_use', 'peak_bytes_in_use') if all(key in each for each in stats)]
    return {f'device_{key}': max(each[key] for each in stats) for key in keys}


def remedies(config, mesh) -> str:
    """Returns the settings that need less memory; those that keep the result, except for dropout, come first."""
    most, same = most_accumulation_steps(config, mesh), []
    if accumulation_steps(config, mesh) < most:
        same.append(f'--config.accumulation_steps={most}')
    if config.model.name == 'dsconv' and config.model.implementation != 'plain' and not config.model.remat:
        same.append('--config.model.remat=true')
    if config.dataset.on_device:
        same.append('--config.dataset.on_device=false')
    smaller = f'a --config.batch_size below {config.batch_size} (in a new workdir)'
    return f'set {" or ".join(same)} (same result, except for dropout), or {smaller}' if same else f'set {smaller}'


def _free_bytes() -> int | None:
    """Returns the free bytes of the machine, limited by the process's cgroups, or None if they are unknown."""
    try:
        lines = dict(line.split(':') for line in MEMORY_INFO.read_text().splitlines())
        free = [1024 * int(lines['MemAvailable'].split()[0])]
    except (OSError, KeyError):
        return None
    with contextlib.suppress(OSError, IndexError, ValueError):  # no cgroup v2
        own = OWN_CGROUP.read_text().splitlines()[-1].partition('::')[2].lstrip('/')
        for group in [CGROUPS / own, *(CGROUPS / own).parents]:
            limit = group / 'memory.max'
            if limit.exists() and (most := limit.read_text().strip()) != 'max':
                used, stat = int((group / 'memory.current').read_text()), group / 'memory.stat'
                told = stat.read_text() if stat.exists() else ''
                cached = re.search(r'^inactive_file (\d+)', told, re.MULTILINE)  # page cache, freed when needed
                free.append(int(most) - used + (int(cached[1]) if cached else 0))
    return max(0, min(free))
