"""The estimate for a TPU slice: what is read off a compiled program, and, where libtpu is installed, all of it."""

import json

import pytest

from dsconv.performance.preflight import collectives
from tests.performance.process import HAS_COMPILER, run

PROGRAM = """
  %a = f32[8,128]{1,0:T(8,128)} all-reduce(%x), replica_groups={}
  %b = (bf16[16]{0}, s32[2,3]{1,0}) all-reduce(%y, %z), replica_groups={}
  %c = u8[4,5]{1,0} collective-permute-start(%w), source_target_pairs={}
  %d = f32[9]{0} add(%all-reduce, %all-reduce)
"""


def preflight(*flags):
    return run('preflight', '--config=configs/small.py', *flags)


def test_collectives_are_counted_by_kind_with_the_bytes_of_their_results():
    assert collectives(PROGRAM) == {
        'all-reduce': {'count': 2, 'bytes': 8 * 128 * 4 + 16 * 2 + 6 * 4},
        'collective-permute': {'count': 1, 'bytes': 20},
    }


@pytest.mark.skipif(HAS_COMPILER, reason='libtpu is installed')
def test_without_the_compiler_one_line_says_how_to_get_it():
    result = preflight('--topology=v3-8')
    assert (result.returncode, result.stdout) == (2, '')
    assert result.stderr.splitlines() == [
        "python -m dsconv.preflight: error: to compile for a TPU takes its compiler: pip install 'jax[tpu]'"
    ]


@pytest.mark.skipif(not HAS_COMPILER, reason='libtpu is not installed')
def test_a_small_network_fits_a_v3_8_and_norm_groups_need_two_collectives():
    result = json.loads(preflight('--topology=v3-8', '--json', '--config.model.depth=1').stdout)
    assert result['fits']
    assert result['devices'] == 8
    assert result['collectives']['all-reduce']['count'] == 2
    assert result['step_ms'] == pytest.approx(result['bytes_per_image'] * 512 / 8 / 450e9 * 1e3)
    assert result['run_minutes'] == pytest.approx(result['step_ms'] * (50_000 // 512) * 300 / 60e3)
