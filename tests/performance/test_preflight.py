"""The estimate for a TPU slice; where libtpu is not installed, that one line says how to get it."""

import json

import pytest

from dsconv.performance.topology import SLICES
from tests.performance.process import HAS_COMPILER, run

SMALL = ('--config.model.depth=1', '--config.model.dtype=bfloat16')


def preflight(*flags):
    return run('preflight', '--config=configs/small.py', *flags)


@pytest.mark.skipif(HAS_COMPILER, reason='libtpu is installed')
def test_without_the_compiler_one_line_says_how_to_get_it():
    result = preflight('--topology=v3-8')
    assert (result.returncode, result.stdout) == (2, '')
    assert result.stderr.splitlines() == [
        "python -m dsconv.preflight: error: to compile for a TPU takes its compiler: pip install 'jax[tpu]'"
    ]


@pytest.mark.skipif(not HAS_COMPILER, reason='libtpu is not installed')
@pytest.mark.parametrize('name', ['v3-9', 'v9:1x1', ''])
def test_a_wrong_slice_is_one_line_with_the_choices(name):
    result = preflight(f'--topology=v3-8,{name}')
    assert (result.returncode, result.stdout) == (2, '')
    assert len(result.stderr.splitlines()) == 1
    assert f'topology {name} ' in result.stderr
    assert all(choice in result.stderr for choice in SLICES)


@pytest.mark.skipif(not HAS_COMPILER, reason='libtpu is not installed')
def test_a_small_network_fits_a_v3_8_and_norm_groups_need_few_collectives(tmp_path):
    file = tmp_path / 'estimate.json'
    result = json.loads(preflight('--topology=v3-8', '--json', f'--output={file}', *SMALL).stdout)
    assert json.loads(file.read_text()) == result
    assert result['fits']
    assert result['devices'] == 8
    assert 0 < result['bytes_per_device'] < result['memory_per_device'] == 16 * 2**30
    assert result['collectives'].keys() == {'all-reduce'}
    assert 1 <= result['collectives']['all-reduce']['count'] <= 2  # as the compiler combines them
    assert result['collectives']['all-reduce']['bytes'] > 0
    assert result['bound'] == 'memory'
    assert result['step_ms'] == pytest.approx(result['bytes_per_image'] * 512 / 8 / 450e9 * 1e3)
    assert result['compiler_ms'] == pytest.approx(result['step_ms'], rel=0.2)
    assert result['images_per_second'] == pytest.approx(512 / result['step_ms'] * 1e3)
    assert result['run_minutes'] == pytest.approx(result['step_ms'] * (50_000 // 512) * 300 / 60e3)
    assert 5 < result['flops_per_image'] / result['macs_per_image'] < 20  # 2 each, forward and twice backward


@pytest.mark.skipif(not HAS_COMPILER, reason='libtpu is not installed')
def test_several_slices_are_the_rows_of_a_table_and_what_does_not_fit_says_so():
    result = preflight('--topology=v4-8,v5e:2x2', '--config.batch_size=1000000', *SMALL)
    *_, header, _, v4, v5e = result.stdout.splitlines()
    header, v4, v5e = ([cell.strip() for cell in line.split('|')] for line in (header, v4, v5e))
    assert header[1] == 'slice'
    assert v4[1:4] == ['v4-8', '4 × TPU v4', 'no']
    assert v5e[1:4] == ['v5e:2x2', '4 × TPU v5 lite', 'no']
