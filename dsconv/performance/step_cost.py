"""What a training run costs on a TPU slice that need not be there: memory, time by roofline, what devices exchange."""

import re
import time
from importlib import metadata
from typing import NamedTuple

import jax

from dsconv.performance import hlo
from dsconv.performance.topology import compile_step
from dsconv.training.memory import bytes_of


class Chip(NamedTuple):
    """A device's published figures: of a core of v2 and v3, which have two to a chip, of a chip of the others.

    Attributes:
      memory: bytes.
      bandwidth: of it, bytes/s.
      peak: bfloat16 FLOP/s.
    """

    memory: float
    bandwidth: float
    peak: float


# Google Cloud's documentation, the pages "TPU v3" (a chip: 32 GiB, 900 GBps, 123 teraflops), "TPU v4", "TPU v5e",
# "TPU v5p" and "TPU v6e", of 2026. It has no page on v2 any more: those are of Norrie et al., "The Design Process for
# Google's Training Chips: TPUv2 and TPUv3", IEEE Micro 2021 (a chip: 16 GiB, 700 GB/s, 46 TFLOP/s).
CHIPS = {
    'TPU v2': Chip(8 * 2**30, 350e9, 23e12),
    'TPU v3': Chip(16 * 2**30, 450e9, 61.5e12),
    'TPU v4': Chip(32 * 2**30, 1200e9, 275e12),
    'TPU v5 lite': Chip(16e9, 819e9, 197e12),
    'TPU v5': Chip(95e9, 2765e9, 459e12),
    'TPU v6 lite': Chip(32e9, 1638e9, 918e12),
}
_TOO_LARGE = re.compile(r'(?:HLO temporaries \(|Used )([\d.]+)([KMGT])')  # in the compiler's two forms
COLUMNS = {
    'devices': 'devices',
    'fits': 'fits',
    'GB a device': 'gigabytes',
    'MB an image': 'megabytes_an_image',
    'step, ms': 'step_ms',
    'compiler, ms': 'compiler_ms',
    'bound by': 'bound',
    'images/s': 'images_per_second',
    'run, min': 'run_minutes',
}


class Counts(NamedTuple):
    """Of a compiled step on a device: the compiler's `cost_analysis`, loops counted as often as they run.

    Attributes:
      flops: floating-point operations.
      moved: bytes to and from memory.
      optimal_seconds: with memory and arithmetic used as well as they can be; it is negative at times.
      totals: what the program's text adds.
    """

    flops: float
    moved: float
    optimal_seconds: float
    totals: hlo.Totals


def counts(compiled) -> Counts:
    """Reads a compiled step."""
    cost, totals = compiled.cost_analysis(), hlo.totals(compiled.as_text())
    moved, seconds = (cost.get(key, 0) * totals.bytes_factor for key in ('bytes accessed', 'optimal_seconds'))
    return Counts(cost['flops'] * totals.flops_factor, moved, seconds, totals)


def estimate(config, macs: int, num_examples: int, topology: str, devices: list) -> dict:
    """Compiles a training step for a slice and estimates by roofline.

    Args:
      config: resolved.
      macs: of the network's forward pass for one image.
      num_examples: training images.
      topology: the name of the slice.
      devices: its devices, of `topology.topology_devices`.

    Returns:
      What `python -m dsconv.preflight --json` prints. `step_ms` is what memory and arithmetic alone would take at their
      best; links between devices and the host are left out. `compiler_ms` is the compiler's own estimate of the same,
      None where it has none; `megacycles` sums up its estimates of the scheduled instructions, which is several times
      as much. Where the step does not fit into memory, all that is read from the program is None.
    """
    kind = devices[0].device_kind
    result = {
        'topology': topology,
        'devices': len(devices),
        'device_kind': kind,
        'model': config.model.to_dict(),
        'batch_size': config.batch_size,
        'versions': {package: metadata.version(package) for package in ('jax', 'jaxlib', 'libtpu')},
        'memory_per_device': CHIPS[kind].memory,
        'macs_per_image': macs,
    }
    start = time.perf_counter()
    try:
        compiled = compile_step(config, devices)
    except jax.errors.JaxRuntimeError as error:
        used = _TOO_LARGE.search(str(error))
        if not used:
            raise
        size = float(used[1]) * 2 ** (10 * (1 + 'KMGT'.index(used[2])))
        return result | {'fits': False, 'bytes_per_device': size} | dict.fromkeys(_FROM_PROGRAM)
    return result | _from_program(
        compiled, config, num_examples, CHIPS[kind], len(devices), time.perf_counter() - start
    )


_FROM_PROGRAM = (
    'flops_per_image',
    'bytes_per_image',
    'flops_per_byte',
    'step_ms',
    'compiler_ms',
    'megacycles',
    'bound',
    'images_per_second',
    'epoch_seconds',
    'run_minutes',
    'collectives',
    'loops_counted_once',
    'compile_seconds',
)


def _from_program(compiled, config, num_examples, chip, num_devices, compile_seconds):
    used, counted = bytes_of(compiled), counts(compiled)
    by_memory, by_arithmetic = counted.moved / chip.bandwidth, counted.flops / chip.peak
    step, share = max(by_memory, by_arithmetic), num_devices / config.batch_size
    epoch = num_examples // config.batch_size * step
    values = (
        counted.flops * share,
        counted.moved * share,
        counted.flops / counted.moved,
        1e3 * step,
        1e3 * counted.optimal_seconds if counted.optimal_seconds > 0 else None,
        counted.totals.megacycles,
        'memory' if by_memory >= by_arithmetic else 'arithmetic',
        config.batch_size / step,
        epoch,
        config.epochs * epoch / 60,
        counted.totals.collectives,
        counted.totals.unknown_loops,
        compile_seconds,
    )
    return {'fits': used <= chip.memory, 'bytes_per_device': used} | dict(zip(_FROM_PROGRAM, values, strict=True))


def as_text(result: dict, config) -> str:
    """Formats `estimate`'s result for a terminal."""
    from dsconv.reporting import text_table

    used, memory = result['bytes_per_device'] / 1e9, result['memory_per_device'] / 1e9
    rows = [
        ['fits', 'yes' if result['fits'] else 'no'],
        ['memory of a device', f'{used:.2f} of {memory:.1f} GB'],
        ['an image', f'{result["macs_per_image"] / 1e6:,.1f} M MACs forward'],
    ]
    if result['step_ms'] is not None:
        compiler = 'none' if result['compiler_ms'] is None else f'{result["compiler_ms"]:.2f} ms'
        rows += [
            ['', f'{result["flops_per_image"] / 1e6:,.0f} MFLOPs and {result["bytes_per_image"] / 1e6:,.1f} MB a step'],
            ['', f'{result["flops_per_byte"]:.1f} FLOPs a byte'],
            ['a step', f'{result["step_ms"]:.2f} ms, bound by {result["bound"]}'],
            ["compiler's estimate", f'{compiler}; instructions of {result["megacycles"]:.2f} M cycles'],
            ['images/s', f'{result["images_per_second"]:,.0f}'],
            ['an epoch', f'{result["epoch_seconds"]:.2f} s'],
            [f'{config.epochs} epochs', f'{result["run_minutes"]:.1f} min'],
            *(
                [name, f'{found["count"]} a step, {found["bytes"] / 1e6:.2f} MB']
                for name, found in result['collectives'].items()
            ),
            ['compiling', f'{result["compile_seconds"]:.0f} s'],
        ]
    if result['loops_counted_once']:
        rows.append(['loops', f'{result["loops_counted_once"]} of unknown length, counted once'])
    return '\n'.join(
        [
            f"{_what(config)}, on {result['devices']} × {result['device_kind']}: the compiler's counts, and the time",
            'that memory and arithmetic take at their best. Nothing was run; the links and the host are left out.',
            text_table(['', ''], rows),
        ]
    )


def as_table(results: dict[str, dict], config) -> str:
    """Formats the results of several slices, by name, as a Markdown table."""
    from dsconv.reporting import markdown_table

    rows = []
    for name, result in results.items():
        sums = result.get('collectives') or {}
        cells = result | {
            'devices': f'{result["devices"]} × {result["device_kind"]}',
            'fits': 'yes' if result['fits'] else 'no',
            'gigabytes': result['bytes_per_device'] / 1e9,
            'megabytes_an_image': None if result['bytes_per_image'] is None else result['bytes_per_image'] / 1e6,
        }
        exchanged = ', '.join(f'{found["count"]} {kind}' for kind, found in sums.items()) or None
        rows.append([name, *(cells[key] for key in COLUMNS.values()), exchanged])
    return '\n'.join(
        [
            f"{_what(config)}: the compiler's and the roofline's estimates, nothing was run.",
            '',
            markdown_table(['slice', *COLUMNS, 'collectives a step'], rows),
        ]
    )


def _what(config):
    return f'{config.model.name} in {config.model.dtype}, batch {config.batch_size}'
