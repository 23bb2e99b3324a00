"""A training run on a TPU slice that is not there: does it fit, how long could it take, what does it send around."""

import math
import re
import time
from collections import defaultdict
from typing import NamedTuple

from dsconv.performance.topology import compile_step

ITEM_BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 's32': 4, 'u32': 4, 'f32': 4, 's64': 8, 'u64': 8, 'f64': 8}
COLLECTIVES = ('all-reduce', 'all-gather', 'all-to-all', 'collective-permute', 'reduce-scatter')


class Chip(NamedTuple):
    """What Google Cloud's documentation says of a device: a core of v2 and v3, a chip of the later ones.

    Attributes:
      memory: bytes.
      bandwidth: of it, bytes/s.
      peak: bfloat16 FLOP/s.
    """

    memory: float
    bandwidth: float
    peak: float


CHIPS = {
    'TPU v2': Chip(8 * 2**30, 350e9, 23e12),
    'TPU v3': Chip(16 * 2**30, 450e9, 61.5e12),
    'TPU v4': Chip(32 * 2**30, 1228e9, 275e12),
    'TPU v5 lite': Chip(16 * 2**30, 819e9, 197e12),
    'TPU v5': Chip(95 * 2**30, 2765e9, 459e12),
    'TPU v6 lite': Chip(32 * 2**30, 1640e9, 918e12),
}


def preflight(config, macs: int, num_examples: int, devices: list) -> dict:
    """Compiles a training step for a slice and estimates by roofline.

    Args:
      config: resolved, but for the pixels' statistics.
      macs: of the network's forward pass for one image.
      num_examples: training images.
      devices: of `topology.topology_devices`.

    Returns:
      What `python -m dsconv.preflight --json` prints. Seconds are what memory and arithmetic alone would take at their
      best; what the links between devices take is left out.
    """
    kind, batch = devices[0].device_kind, config.batch_size
    chip, start = CHIPS[kind], time.perf_counter()
    compiled = compile_step(config, devices)
    compile_seconds = time.perf_counter() - start
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    used = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes
    )
    by_memory, by_arithmetic = cost['bytes accessed'] / chip.bandwidth, cost['flops'] / chip.peak
    step = max(by_memory, by_arithmetic)
    steps_per_epoch = num_examples // batch
    return {
        'devices': len(devices),
        'device_kind': kind,
        'fits': used <= chip.memory,
        'bytes_per_device': used,
        'memory_per_device': chip.memory,
        'macs_per_image': macs,
        'flops_per_image': cost['flops'] * len(devices) / batch,
        'bytes_per_image': cost['bytes accessed'] * len(devices) / batch,
        'flops_per_byte': cost['flops'] / cost['bytes accessed'],
        'step_ms': 1e3 * step,
        'bound': 'memory' if by_memory >= by_arithmetic else 'arithmetic',
        'images_per_second': batch / step,
        'epoch_seconds': steps_per_epoch * step,
        'run_minutes': config.epochs * steps_per_epoch * step / 60,
        'collectives': collectives(compiled.as_text()),
        'compile_seconds': compile_seconds,
    }


def collectives(program: str) -> dict[str, dict[str, int]]:
    """Kind of collective → its `count` in a compiled program and the `bytes` of their results on a device."""
    found = defaultdict(lambda: {'count': 0, 'bytes': 0})
    for result, kind in re.findall(rf' = (.+?) ({"|".join(COLLECTIVES)})(?:-start)?\(', program):
        found[kind]['count'] += 1
        found[kind]['bytes'] += _size(result)
    return dict(found)


def _size(result: str) -> int:
    """Bytes of an HLO result, as 'f32[8,128]{1,0}' or a tuple of such."""
    arrays = re.findall(r'(\w+)\[([\d,]*)\]', result)
    return sum(ITEM_BYTES.get(kind, 0) * math.prod(map(int, filter(None, sides.split(',')))) for kind, sides in arrays)


def as_text(result: dict, config) -> str:
    """`preflight`'s result for a terminal."""
    from dsconv.reporting import text_table

    gigabyte, used, memory = 1e9, result['bytes_per_device'], result['memory_per_device']
    rows = [
        ['fits', 'yes' if result['fits'] else 'no'],
        ['memory of a device', f'{used / gigabyte:.2f} of {memory / gigabyte:.1f} GB'],
        ['an image', f'{result["macs_per_image"] / 1e6:,.1f} M MACs forward'],
        ['', f'{result["flops_per_image"] / 1e6:,.0f} MFLOPs and {result["bytes_per_image"] / 1e6:,.1f} MB a step'],
        ['', f'{result["flops_per_byte"]:.1f} FLOPs a byte'],
        ['a step', f'{result["step_ms"]:.2f} ms, bound by {result["bound"]}'],
        ['images/s', f'{result["images_per_second"]:,.0f}'],
        ['an epoch', f'{result["epoch_seconds"]:.2f} s'],
        [f'{config.epochs} epochs', f'{result["run_minutes"]:.1f} min'],
        *(
            [name, f'{found["count"]} a step, {found["bytes"] / 1e6:.2f} MB']
            for name, found in result['collectives'].items()
        ),
        ['compiling', f'{result["compile_seconds"]:.0f} s'],
    ]
    lines = [
        f'{config.model.name} in {config.model.dtype}, batch {config.batch_size}, on {result["devices"]} × '
        f"{result['device_kind']}: the compiler's counts, and the time",
        'that memory and arithmetic take at their best. Nothing was run; the links and the host are left out.',
        text_table(['', ''], rows),
    ]
    return '\n'.join(lines)
