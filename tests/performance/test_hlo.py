"""Compiled programs as text: loops weighed by their turns, cycles, collectives."""

import json

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from dsconv.performance import hlo
from tests.commands import python
from tests.performance.test_topology import HAS_COMPILER

PROGRAM = """HloModule jit_step

%body (carried: (s32[], f32[8,16])) -> (s32[], f32[8,16]) {
  %carried = (s32[], f32[8,16]{1,0}) parameter(0)
  %turn = s32[] get-tuple-element(%carried), index=0
  %one = s32[] constant(1)
  %next = s32[] add(%turn, %one)
  %total = f32[8,16]{1,0} get-tuple-element(%carried), index=1
  %sum = f32[8,16]{1,0} all-reduce(%total), to_apply=%add, backend_config={"estimated_cycles":"500000"}
  ROOT %out = (s32[], f32[8,16]{1,0}) tuple(%next, %sum)
}

%condition (carried: (s32[], f32[8,16])) -> pred[] {
  %carried = (s32[], f32[8,16]{1,0}) parameter(0)
  %turn = s32[] get-tuple-element(%carried), index=0
  %end = s32[] constant(7)
  ROOT %less = pred[] compare(%turn, %end), direction=LT
}

ENTRY %main (a: f32[8,4], b: f32[4,16], c: u8[4,5]) -> f32[8,16] {
  %a = f32[8,4]{1,0:T(8,128)} parameter(0)
  %b = f32[4,16]{1,0:T(8,128)} parameter(1)
  %c = u8[4,5]{1,0} parameter(2)
  %first = f32[8,16]{1,0} add(%a, %b), backend_config={"estimated_cycles":"1000000"}
  %pair = (bf16[16]{0}, s32[2,3]{1,0}) all-reduce(%a, %b), replica_groups={}
  %start = (u8[4,5]{1,0}, u8[4,5]{1,0}) collective-permute-start(%c), source_target_pairs={{0,1}}
  %done = u8[4,5]{1,0} collective-permute-done(%start)
  %zero = s32[] constant(2)
  %copied = s32[] copy(%zero)
  %init = (s32[], f32[8,16]{1,0}) tuple(%copied, %first)
  %loop = (s32[], f32[8,16]{1,0}) while(%init), condition=%condition, body=%body
  ROOT %result = f32[8,16]{1,0} get-tuple-element(%loop), index=1
}
"""
WEIGHTS, IMAGES = jax.ShapeDtypeStruct((64, 64), jnp.float32), jax.ShapeDtypeStruct((32, 64), jnp.float32)


def scanned(weights, images):
    return lax.scan(lambda x, _: (jnp.tanh(x @ weights), None), images, None, length=6)[0]


def nested(weights, images):
    return lax.scan(lambda x, _: (scanned(weights, x), None), images, None, length=3)[0]


def unrolled(weights, images):
    for _ in range(6):
        images = jnp.tanh(images @ weights)
    return images


def test_collectives_and_cycles_of_a_loop_are_those_of_all_its_iterations():
    totals = hlo.totals(PROGRAM)
    assert totals.collectives == {
        'all-reduce': {'count': 1 + 5, 'bytes': 16 * 2 + 6 * 4 + 5 * 8 * 16 * 4},
        'collective-permute': {'count': 1, 'bytes': 20},
    }
    assert totals.megacycles == pytest.approx(1 + 5 * 0.5)
    unknown = hlo.totals(PROGRAM.replace('direction=LT', 'direction=NE'))  # counted once
    assert (unknown.unknown_loops, unknown.megacycles) == (1, pytest.approx(1.5))


def test_a_scan_in_a_scan_is_counted_as_often_as_it_turns():
    once, whole = (jax.jit(f).lower(WEIGHTS, IMAGES).compile() for f in (nested, unrolled))
    totals = hlo.totals(once.as_text())
    assert totals.unknown_loops == 0
    flops = once.cost_analysis()['flops'] * totals.flops_factor
    assert flops == pytest.approx(3 * whole.cost_analysis()['flops'], rel=0.02)  # 18 turns, of which it has 6
    assert totals.bytes_factor > 9


def test_products_with_padding_are_none():
    window = 'window={size=3x3 pad=1_1x1_1%s}, dim_labels=b01f_01io->b01f'
    for stride, side, taps in (('', 8, (3 * 8 - 2) ** 2), (' stride=2x2', 4, (3 * 4 - 1) ** 2)):
        assert hlo._products(window % stride, [2, 8, 8, 4], [3, 3, 4, 5], [2, side, side, 5]) == 2 * taps * 4 * 5


@pytest.mark.skipif(not HAS_COMPILER, reason='libtpu is not installed')
def test_a_scan_for_a_tpu_is_counted_as_often_as_it_turns():
    script = """
import json, jax
from dsconv.performance import step_cost, topology
device = topology.topology_devices('v3-8')[0]
from tests.performance.test_hlo import IMAGES, WEIGHTS, scanned, unrolled
from jax.sharding import SingleDeviceSharding
place = SingleDeviceSharding(device)
found = []
for function in scanned, unrolled:
    compiled = jax.jit(function, in_shardings=place, out_shardings=place).lower(WEIGHTS, IMAGES).compile()
    found.append(step_cost.counts(compiled)[:2])
print(json.dumps(found))
"""
    (flops, moved), (unrolled_flops, unrolled_moved) = json.loads(python('-c', script).stdout)
    assert flops == pytest.approx(unrolled_flops, rel=0.02)
    assert 0.8 * unrolled_moved < moved < 3 * unrolled_moved  # a loop copies what it carries
