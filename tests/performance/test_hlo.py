"""Compiled programs as text: loops weighed by their turns, cycles, collectives."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from dsconv.performance import hlo

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
    moved = '  %moved = (s32[], f32[8,16]{1,0}) copy(%init)\n  %loop'
    copied = PROGRAM.replace('  %loop', moved).replace('index=0', 'index=1').replace('while(%init)', 'while(%moved)')
    for program in (PROGRAM.replace('direction=LT', 'direction=NE'), copied):
        unknown = hlo.totals(program)  # counted once
        assert (unknown.unknown_loops, unknown.megacycles) == (1, pytest.approx(1.5))


def test_a_scan_in_a_scan_is_counted_as_often_as_it_turns():
    once, whole = (jax.jit(f).lower(WEIGHTS, IMAGES).compile() for f in (nested, unrolled))
    totals = hlo.totals(once.as_text())
    assert totals.unknown_loops == 0
    flops = once.cost_analysis()['flops'] * totals.flops_factor
    assert flops == pytest.approx(3 * whole.cost_analysis()['flops'], rel=0.02)  # 18 turns, of which it has 6
    assert totals.bytes_factor > 9


def test_products_with_padding_or_the_gaps_of_a_strided_convolutions_gradient_are_none():
    window = 'window={size=3x3 pad=%s}, dim_labels=b01f_01io->b01f'
    for pad, side, taps in (('1_1x1_1', 8, (3 * 8 - 2) ** 2), ('1_1x1_1 stride=2x2', 4, (3 * 4 - 1) ** 2)):
        assert hlo._products(window % pad, [2, 8, 8, 4], [3, 3, 4, 5], [2, side, side, 5]) == 2 * taps * 4 * 5
    gradient = window % '1_2x1_2 lhs_dilate=2x2'  # of the latter, which does as many
    assert hlo._products(gradient, [2, 4, 4, 5], [3, 3, 5, 4], [2, 8, 8, 4]) == 2 * taps * 5 * 4


def test_a_gather_is_counted_by_what_it_makes_and_not_by_the_part_that_it_takes():
    for result, size in (
        ('(f32[2,5]{1,0}, f32[16,5]{1,0}) all-gather-start', 16 * 5 * 4),
        ('f32[2,5]{1,0} reduce-scatter', 2 * 5 * 4),
        ('(f32[5]{0}, bf16[3]{0}) all-reduce-start', 5 * 4 + 3 * 2),
    ):
        start = next(line for line in PROGRAM.splitlines() if '%start =' in line)
        kind = result.rpartition(' ')[2].removesuffix('-start')
        program = PROGRAM.replace(start, f'  %start = {result}(%c), dimensions={{0}}')
        found = hlo.totals(program).collectives
        before = hlo.totals(PROGRAM).collectives.get(kind, {'count': 0, 'bytes': 0})
        assert found[kind] == {'count': before['count'] + 1, 'bytes': before['bytes'] + size}


def test_a_loop_in_a_branch_is_counted_as_often_as_it_turns():
    def branches(weights, images):
        return lax.cond(images[0, 0] > 0, scanned, lambda weights, x: x, weights, images)

    compiled = jax.jit(branches).lower(WEIGHTS, IMAGES).compile()
    assert hlo.totals(compiled.as_text()).flops_factor == pytest.approx(6, rel=0.05)


@pytest.mark.parametrize(('kind', 'result', 'row'), [('slice', '1,64', ''), ('update-slice', '32,64', '%row, ')])
def test_a_slice_and_an_update_in_place_move_their_own_bytes_alone_in_a_fusion_too(kind, result, row):
    program = f"""
%fused (images: f32[32,64], row: f32[1,64], turn: s32[]) -> f32[{result}] {{
  %images = f32[32,64]{{1,0}} parameter(0)
  %row = f32[1,64]{{1,0}} parameter(1)
  %turn = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %part = f32[{result}]{{1,0}} dynamic-{kind}(%images, {row}%turn, %zero)
}}

ENTRY %main (images: f32[32,64], row: f32[1,64], turn: s32[]) -> f32[{result}] {{
  %images = f32[32,64]{{1,0}} parameter(0)
  %row = f32[1,64]{{1,0}} parameter(1)
  %turn = s32[] parameter(2)
  ROOT %part = f32[{result}]{{1,0}} fusion(%images, %row, %turn), kind=kLoop, calls=%fused
}}
"""
    entry, computations = hlo.parse(program)
    assert hlo._moved(computations['fused']['part'], computations['fused'], computations) == 2 * 64 * 4
    assert hlo._moved(computations[entry]['part'], computations[entry], computations) == 2 * 64 * 4 + 4
