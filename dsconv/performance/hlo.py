"""Reads from a compiled program's text (HLO) what `cost_analysis` lacks: trip counts of loops, cycles, collectives.

XLA's `cost_analysis` counts the body of a loop once. Here each computation is weighted by how often it runs.
"""

import math
import re
from collections import defaultdict
from typing import NamedTuple

ITEM_BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's16': 2, 'u16': 2, 's32': 4, 'u32': 4, 'f32': 4}
ITEM_BYTES |= {'s64': 8, 'u64': 8, 'f64': 8}
COLLECTIVES = ('all-reduce', 'all-gather', 'all-to-all', 'collective-permute', 'reduce-scatter')
# Instructions that move no bytes themselves: aliases, and calls, whose bodies are counted.
FREE = ('parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'while', 'conditional', 'call')
SLICES = ('slice', 'dynamic-slice', 'gather')
WORDS = ('convert', 'broadcast', 'iota', 'copy', 'reshape', 'transpose', 'pad', 'concatenate', 'reverse', 'select')
NO_ARITHMETIC = (*FREE, *SLICES, *WORDS, 'fusion', 'dynamic-update-slice', 'optimization-barrier')

_COMPUTATION = re.compile(r'(ENTRY )?%?([\w.\-]+) \(.*\{$')
_INSTRUCTION = re.compile(r'  (?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*?)\)')
_ARRAY = re.compile(r'(\w+)\[([\d,]*)\]')  # e.g. f32[8,128]
_CALLED = re.compile(r'(calls|body|condition|to_apply)=%?([\w.\-]+)')
_BRANCHES = re.compile(r'(?:branch|true|false)_computations?=\{?([^,}]+(?:, %[\w.\-]+)*)')
_KNOWN_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


class Instruction(NamedTuple):
    """A line of HLO, `line`: `arrays` holds the types and shapes of its result, `called` maps role → computation."""

    name: str
    arrays: list[tuple[str, list[int]]]
    kind: str
    operands: list[str]
    called: dict[str, str]
    line: str

    @property
    def size(self) -> int:
        """The bytes of the result, without padding."""
        return _bytes(self.arrays)


class Totals(NamedTuple):
    """Totals of one execution of the program on a device.

    Attributes:
      collectives: kind → `count`, and `bytes` of the results.
      megacycles: sum of the compiler's estimates for the scheduled instructions, without overlap, in 10⁶ cycles.
      bytes_factor, flops_factor: bytes moved and FLOPs ÷ the same with the body of every loop counted once.
      unknown_loops: number of loops with an unknown trip count; their bodies are counted once.
    """

    collectives: dict[str, dict[str, int]]
    megacycles: float
    bytes_factor: float
    flops_factor: float
    unknown_loops: int


def totals(program: str) -> Totals:
    """Returns the totals of a compiled program, given as `compiled.as_text()`."""
    entry, computations = parse(program)
    times_run, unknown = _executions(entry, computations)
    found = defaultdict(lambda: {'count': 0, 'bytes': 0})
    cycles, moved, worked = 0, [0, 0], [0, 0]
    for name, times in times_run.items():
        here = computations[name]
        for line in here.values():
            kind = line.kind.removesuffix('-start')
            if kind in COLLECTIVES:
                found[kind]['count'] += times
                found[kind]['bytes'] += times * _result_bytes(line)
            estimate = re.search(r'"estimated_cycles":"(\d+)"', line.line)
            cycles += times * int(estimate[1]) if estimate else 0
            for sums, value in ((moved, _moved(line, here, computations)), (worked, _flops(line, here, computations))):
                sums[0] += value
                sums[1] += times * value
    factors = (whole / once if once else 1.0 for once, whole in (moved, worked))
    return Totals(dict(found), cycles / 1e6, *factors, unknown)


def parse(program: str) -> tuple[str, dict[str, dict[str, Instruction]]]:
    """Returns the entry's name, and each computation's instructions by name."""
    entry, computations, current = '', {}, None
    for line in program.splitlines():
        if current is not None and (match := _INSTRUCTION.match(line)):
            name, result, kind, operands = match.groups()
            arrays = [(item, list(map(int, re.findall(r'\d+', sides)))) for item, sides in _ARRAY.findall(result)]
            read, called = re.findall(r'%([\w.\-]+)', operands), dict(_CALLED.findall(line))
            current[name] = Instruction(name, arrays, kind, read, called, line)
        elif match := _COMPUTATION.match(line):
            current = computations.setdefault(match[2], {})
            entry = match[2] if match[1] else entry
    return entry, computations


def _executions(entry, computations):
    """Returns how often each computation outside of fusions runs, and how many loops have an unknown trip count."""
    times_run, unknown, left = defaultdict(int), 0, [(entry, 1)]
    while left:
        name, times = left.pop()
        times_run[name] += times
        for line in computations[name].values():
            if line.kind == 'while':
                trips = _trips(line, computations[name], computations[line.called['condition']])
                unknown += trips is None
                left.append((line.called['body'], times * (1 if trips is None else trips)))
            elif line.kind == 'call':
                left.append((line.called['to_apply'], times))
            elif line.kind == 'conditional':
                branches = ','.join(_BRANCHES.findall(line.line))
                left.extend((branch.strip(' %'), times) for branch in branches.split(','))
    return times_run, unknown


def _trips(loop, here, condition):
    """Returns the trip count of a loop that counts up by 1 (all JAX loops except `while_loop`), or None if unknown."""
    if known := _KNOWN_TRIPS.search(loop.line):
        return int(known[1])
    compared = next((line for line in condition.values() if line.kind == 'compare'), None)
    if compared is None or 'direction=LT' not in compared.line:
        return None
    (counter, end), initial = map(condition.get, compared.operands), here[loop.operands[0]]
    kinds = [getattr(line, 'kind', None) for line in (counter, end, initial)]
    if kinds != ['get-tuple-element', 'constant', 'tuple']:
        return None
    carried = here[initial.operands[int(re.search(r'index=(\d+)', counter.line)[1])]]
    while carried.kind in ('copy', 'bitcast'):
        carried = here[carried.operands[0]]
    first, last = (re.search(r'constant\((-?\d+)\)', line.line) for line in (carried, end))
    return int(last[1]) - int(first[1]) if first and last else None


def _bytes(arrays):
    return sum(ITEM_BYTES.get(item, 0) * math.prod(sides) for item, sides in arrays)


def _result_bytes(line):
    """Returns the bytes of a collective's result, without the operand that asynchronous non-reductions also return."""
    both = line.kind in ('all-gather-start', 'collective-permute-start') and len(line.arrays) > 1
    return _bytes(line.arrays[1:2]) if both else line.size


def _moved(line, here, computations):
    """Returns the bytes that an instruction reads and writes; for a slice or an in-place update, only of that part."""
    if line.kind in FREE or line.kind.endswith('-done'):
        return 0
    if line.kind in SLICES:
        return 2 * line.size
    if line.kind == 'dynamic-update-slice':
        return 2 * _update_bytes(line, here)
    operands = [here[operand].size if operand in here else 0 for operand in line.operands]
    if line.kind != 'fusion':
        return sum(operands) + line.size
    inside, written = computations[line.called['calls']], line.size
    for inner in inside.values():
        if inner.kind == 'dynamic-update-slice' and inner.size <= written:
            written += _update_bytes(inner, inside) - inner.size
        if inner.kind == 'parameter':
            position = int(re.search(r'parameter\((\d+)\)', inner.line)[1])
            read = [_read_bytes(user, inner.name, inside) for user in inside.values() if inner.name in user.operands]
            operands[position] = min(operands[position], sum(read))
    return sum(operands) + written


def _read_bytes(user, operand, inside):
    """Returns the bytes of `operand` that its `user` inside a fusion reads."""
    if user.operands[0] == operand and user.kind in SLICES:
        return user.size
    if user.operands[0] == operand and user.kind == 'dynamic-update-slice':
        return 0
    return inside[operand].size


def _update_bytes(line, here):
    return here[line.operands[1]].size if line.operands[1] in here else 0


def _flops(line, here, computations):
    """Returns an instruction's FLOPs: 2 per multiply-accumulate of a product or convolution, else 1 per element."""
    if line.kind == 'fusion':
        inside = computations[line.called['calls']]
        return sum(_flops(inner, inside, computations) for inner in inside.values())
    if line.kind in NO_ARITHMETIC or line.kind.removesuffix('-start') in COLLECTIVES or line.kind.endswith('-done'):
        return 0
    elements = sum(math.prod(sides) for _, sides in line.arrays)
    sides = [sides for operand in line.operands if operand in here for _, sides in here[operand].arrays[:1]]
    if line.kind == 'dot':
        contracted = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', line.line)[1]
        return 2 * elements * math.prod(sides[0][int(axis)] for axis in contracted.split(',') if axis)
    if line.kind == 'convolution':
        return 2 * _products(line.line, sides[0], sides[1], line.arrays[0][1])
    return max(elements, math.prod(sides[0]) if line.kind == 'reduce' and sides else 0)


def _products(line, images, kernel, output):
    """Returns the multiply-accumulates of a convolution, without those on padding or between dilated elements.

    The compiler also writes matrix products as convolutions, some with a window and padding as large as the image.
    """
    of_images, of_kernel, of_output = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', line).groups()
    found = re.search(r'window=\{(.*?)\}', line)
    window = dict(re.findall(r'(\w+)=([\dx_\-]+)', found[1])) if found else {}
    count = math.prod(kernel) * output[of_output.index('b')]
    for axis, label in enumerate(label for label in of_kernel if label.isdecimal()):
        stride, spread, gaps = (
            int(window[key].split('x')[axis]) if key in window else 1 for key in ('stride', 'rhs_dilate', 'lhs_dilate')
        )
        low = int(window['pad'].split('x')[axis].split('_')[0]) if 'pad' in window else 0
        taps, end = kernel[of_kernel.index(label)], (images[of_images.index(label)] - 1) * gaps
        starts = [place * stride - low for place in range(output[of_output.index(label)])]
        places = [start + tap * spread for start in starts for tap in range(taps)]
        count = count // taps * sum(0 <= place <= end and place % gaps == 0 for place in places)
    return count
