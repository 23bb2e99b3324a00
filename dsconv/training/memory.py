"""The memory that a training step needs, that of the device, and the settings that reduce the former."""

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
    """Returns what a compiled program takes on each device, in bytes, or None where its compiler does not tell."""
    if (memory := compiled.memory_analysis()) is None:
        return None
    parts = (getattr(memory, f'{part}_size_in_bytes') for part in ('argument', 'output', 'temp', 'generated_code'))
    return sum(parts) - memory.alias_size_in_bytes  # of arguments and results that share their memory


def image_bytes(dataset, num_examples: int) -> int:
    """Returns the bytes of the training images that `dataset.on_device` keeps whole on each device; 0 without it."""
    return dataset.on_device * num_examples * dataset.image_size**2 * dataset.channels


def tell_memory(config, mesh, compiled, num_examples: int) -> None:
    """Logs the memory of a compiled step and of the training images on the device, and what the device has.

    Warns with what to set where that is less; the compiler's count is not exact enough to refuse. On CPUs the devices
    share what the machine or cgroup has free.
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
    """Wraps work on the device; where its memory is too small, raises InputError that ends with `remedy`."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if status_of(error) != 'RESOURCE_EXHAUSTED':
            raise
        reason = str(error).splitlines()[0].removeprefix('RESOURCE_EXHAUSTED: ').rstrip('.')
        raise InputError(f'the device does not have enough memory ({reason}): {remedy}') from error


def device_memory(mesh) -> dict[str, int]:
    """Returns for a line of the log the bytes in use on the fullest device, now and at most; nothing on a CPU."""
    if not (stats := [stats for device in mesh.local_devices if (stats := device.memory_stats())]):
        return {}
    keys = [key for key in ('bytes_in_use', 'peak_bytes_in_use') if all(key in each for each in stats)]
    return {f'device_{key}': max(each[key] for each in stats) for key in keys}


def remedies(config, mesh) -> str:
    """Returns the settings that take less memory, those that leave the result as it is, but for dropout, first."""
    most, same = most_accumulation_steps(config, mesh), []
    if accumulation_steps(config, mesh) < most:
        same.append(f'--config.accumulation_steps={most}')
    if config.model.name == 'dsconv' and config.model.implementation != 'plain' and not config.model.remat:
        same.append('--config.model.remat=true')
    if config.dataset.on_device:
        same.append('--config.dataset.on_device=false')
    smaller = f'a --config.batch_size below {config.batch_size} (in a new workdir)'
    return f'set {" or ".join(same)}, with the same result but for dropout, or {smaller}' if same else f'set {smaller}'


def _free_bytes() -> int | None:
    """Returns what the machine has free and the process's cgroups allow, or None where Linux does not tell it."""
    try:
        lines = dict(line.split(':') for line in MEMORY_INFO.read_text().splitlines())
        free = [1024 * int(lines['MemAvailable'].split()[0])]
    except (OSError, KeyError):
        return None
    with contextlib.suppress(OSError, IndexError, ValueError):  # no cgroups of version 2
        own = OWN_CGROUP.read_text().splitlines()[-1].partition('::')[2].lstrip('/')
        for group in [CGROUPS / own, *(CGROUPS / own).parents]:
            limit = group / 'memory.max'
            if limit.exists() and (most := limit.read_text().strip()) != 'max':
                used, stat = int((group / 'memory.current').read_text()), group / 'memory.stat'
                told = stat.read_text() if stat.exists() else ''
                cached = re.search(r'^inactive_file (\d+)', told, re.MULTILINE)  # of files: given up when needed
                free.append(int(most) - used + (int(cached[1]) if cached else 0))
    return max(0, min(free))
