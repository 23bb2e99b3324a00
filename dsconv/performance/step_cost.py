"""Estimates a training run on a TPU slice without a TPU: memory, time by roofline, collectives."""

import re
import time
from typing import NamedTuple

import jax

from dsconv.errors import InputError, status_of
from dsconv.performance import hlo
from dsconv.performance.topology import compile_step
from dsconv.process import versions
from dsconv.reporting import markdown_table, text_table
from dsconv.training.memory import bytes_of, image_bytes


class Chip(NamedTuple):
    """Published memory (bytes), bandwidth (bytes/s), peak (bfloat16 FLOP/s): per core of v2 and v3, else per chip."""

    memory: float
    bandwidth: float
    peak: float


# From Google Cloud's documentation in 2026, pages "TPU v3" (a chip: 32 GiB, 900 GBps, 123 teraflops), "TPU v4",
# "TPU v5e", "TPU v5p" and "TPU v6e". It no longer has a page on v2: those figures are from Norrie et al., "The Design
# Process for Google's Training Chips: TPUv2 and TPUv3", IEEE Micro 2021 (a chip: 16 GiB, 700 GB/s, 46 TFLOP/s).
CHIPS = {
    'TPU v2': Chip(8 * 2**30, 350e9, 23e12),
    'TPU v3': Chip(16 * 2**30, 450e9, 61.5e12),
    'TPU v4': Chip(32 * 2**30, 1200e9, 275e12),
    'TPU v5 lite': Chip(16e9, 819e9, 197e12),
    'TPU v5': Chip(95e9, 2765e9, 459e12),
    'TPU v6 lite': Chip(32e9, 1638e9, 918e12),
}
_TOO_LARGE = re.compile(r'(?:HLO temporaries \(|Used )([\d.]+)([KMGT])')  # the two forms of the compiler's message


# Keys that `estimate` derives from the compiled step; None if the compiler rejects the step as too large.
FROM_PROGRAM = (
    'flops_per_image', 'bytes_per_image', 'flops_per_byte', 'step_ms', 'compiler_ms', 'megacycles', 'bound',
    'images_per_second', 'epoch_seconds', 'run_minutes', 'collectives', 'loops_counted_once', 'compile_seconds',
)  # fmt: skip


def counts(compiled) -> tuple[float, float, float, hlo.Totals]:
    """Returns FLOPs, bytes moved and the compiler's optimal seconds of a compiled step on a device, and its `Totals`.

    Loop bodies are counted as often as they run. The seconds can be negative.
    """
    cost, totals = compiled.cost_analysis(), hlo.totals(compiled.as_text())
    moved, seconds = (cost.get(key, 0) * totals.bytes_factor for key in ('bytes accessed', 'optimal_seconds'))
    return cost['flops'] * totals.flops_factor, moved, seconds, totals


def estimate(config, macs: int, num_examples: int, topology: str, devices: list) -> dict:
    """Compiles a training step of a resolved config for a TPU slice and estimates its cost by roofline.

    `macs` are those of the forward pass for one image. `topology` is the name of the slice, and `devices` are its
    devices, from `topology.topology_devices`.

    Returns the JSON object that `python -m dsconv.preflight --json` prints. `step_ms` is a lower bound from memory
    bandwidth and peak arithmetic; the host and the links between devices are not included. `compiler_ms` is the
    compiler's estimate of the same time, or None. `megacycles` is the sum of the compiler's estimates for the scheduled
    instructions, several times as much. If the compiler rejects the step as too large, the keys in `FROM_PROGRAM` are
    None. Raises InputError for devices that are not in `CHIPS`.
    """
    kind = devices[0].device_kind
    if kind not in CHIPS:
        raise InputError(
            f'--topology={topology}: the figures of {kind} are not known; use a slice of {", ".join(CHIPS)}'
        )
    chip, share = CHIPS[kind], len(devices) / config.batch_size
    held = image_bytes(config.dataset, num_examples)
    result = {
        'topology': topology,
        'devices': len(devices),
        'device_kind': kind,
        'model': config.model.to_dict(),
        'batch_size': config.batch_size,
        'images': num_examples,
        'classes': len(config.dataset.class_names),
        'versions': versions(('jax', 'jaxlib', 'libtpu')),
        'memory_per_device': chip.memory,
        'macs_per_image': macs,
    }
    start = time.perf_counter()
    try:
        compiled = compile_step(config, devices)
    except jax.errors.JaxRuntimeError as error:
        used = status_of(error) == 'RESOURCE_EXHAUSTED' and _TOO_LARGE.search(str(error))
        if not used:
            raise
        size = float(used[1]) * 2 ** (10 * (1 + 'KMGT'.index(used[2]))) + held
        return result | {'fits': False, 'bytes_per_device': size} | dict.fromkeys(FROM_PROGRAM)
    seconds, used = time.perf_counter() - start, bytes_of(compiled) + held
    flops, moved, at_best, totals = counts(compiled)
    by_memory, by_arithmetic = moved / chip.bandwidth, flops / chip.peak
    step = max(by_memory, by_arithmetic)
    epoch = num_examples // config.batch_size * step
    found = dict(
        flops_per_image=flops * share,
        bytes_per_image=moved * share,
        flops_per_byte=flops / moved,
        step_ms=1e3 * step,
        compiler_ms=1e3 * at_best if at_best > 0 else None,
        megacycles=totals.megacycles,
        bound='memory' if by_memory >= by_arithmetic else 'arithmetic',
        images_per_second=config.batch_size / step,
        epoch_seconds=epoch,
        run_minutes=config.epochs * epoch / 60,
        collectives=totals.collectives,
        loops_counted_once=totals.unknown_loops,
        compile_seconds=seconds,
    )
    return result | {'fits': used <= chip.memory, 'bytes_per_device': used} | found


def as_text(results: dict[str, dict], config) -> str:
    """Formats `estimate`'s results by name of slice: one result for a terminal, several as a Markdown table."""
    one = next(iter(results.values()))
    about = (
        f'{config.model.name} in {config.model.dtype}, batch {config.batch_size}, {one["images"]:,} training images '
        f"(--images) of {one['classes']} classes:\nthe compiler's counts, and a lower bound of the time, from memory "
        'and arithmetic. Nothing was run; the\nlinks between devices and the host are not included.\n'
    )
    rows = {name: _cells(result, config) for name, result in results.items()}
    (first, *others) = rows.values()
    if not others:
        return about + text_table(['', ''], [list(cell) for cell in first.items() if cell[1] is not None])
    return f'{about}\n' + markdown_table(['slice', *first], [[name, *cells.values()] for name, cells in rows.items()])


def _cells(result, config) -> dict:
    """Returns the shown values of an estimate by heading; unavailable values are None."""
    kinds = (result['collectives'] or {}).items()
    exchanged = ', '.join(f'{found["count"]} {kind}, {found["bytes"] / 1e6:.2f} MB' for kind, found in kinds)
    return {
        'devices': f'{result["devices"]} × {result["device_kind"]}',
        'fits': 'yes' if result['fits'] else 'no',
        'GB per device': f'{result["bytes_per_device"] / 1e9:.2f} of {result["memory_per_device"] / 1e9:.1f}',
        'M MACs per image': result['macs_per_image'] / 1e6,
        'MFLOPs per image': result['flops_per_image'] and result['flops_per_image'] / 1e6,
        'MB per image': result['bytes_per_image'] and result['bytes_per_image'] / 1e6,
        'FLOPs per byte': result['flops_per_byte'],
        'step, ms': result['step_ms'],
        'bound by': result['bound'],
        'compiler, ms': result['compiler_ms'],
        'M cycles': result['megacycles'],
        'images/s': result['images_per_second'],
        'epoch, s': result['epoch_seconds'],
        f'{config.epochs} epochs, min': result['run_minutes'],
        'collectives a step': exchanged or None,
        'loops counted once': result['loops_counted_once'] or None,
        'compiling, s': result['compile_seconds'],
    }
