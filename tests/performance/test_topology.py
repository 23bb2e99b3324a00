"""What a TPU's compiler says, by `preflight` and `benchmark`; where libtpu is not installed, how to get it."""

import json
import types
from importlib import util
from unittest.mock import Mock

import jax
import pytest

from dsconv import config as configuration
from dsconv.config_checks import resolve_without_data
from dsconv.errors import InputError, RunError
from dsconv.performance import step_cost, topology
from dsconv.performance.topology import SLICES
from tests.commands import python

# One process at a time may use it: all its tests are in this file, which one worker runs.
HAS_COMPILER = util.find_spec('libtpu') is not None
with_compiler = pytest.mark.skipif(not HAS_COMPILER, reason='libtpu is not installed')
SMALL = ('--config=configs/small.py', '--config.model.depth=1', '--config.model.dtype=bfloat16')


def run(command, *flags):
    """`python -m dsconv.<command>` in a separate process, because the process of the tests already has CPU devices."""
    return python('-m', f'dsconv.{command}', *flags, XLA_FLAGS='')


@pytest.mark.skipif(HAS_COMPILER, reason='libtpu is installed')
def test_without_the_compiler_one_line_says_how_to_get_it():
    result = run('preflight', *SMALL, '--topology=v3-8')
    assert (result.returncode, result.stdout) == (2, '')
    assert result.stderr.splitlines() == [
        'python -m dsconv.preflight: error: compiling for a TPU needs its compiler, for x86-64 Linux only: '
        "pip install 'jax[tpu]'"
    ]


@pytest.mark.parametrize(
    ('text', 'kind'),
    [
        ('ABORTED: Internal error when accessing libtpu multi-process lockfile.', RunError),
        ('INVALID_ARGUMENT: Invalid TPU external name: TPU v9', InputError),
        ('INTERNAL: the lockfile of a library that is not installed', jax.errors.JaxRuntimeError),
    ],
)
def test_what_the_compiler_refuses_is_told_by_its_status(monkeypatch, text, kind):
    monkeypatch.setattr(topology, '_NO_TPU_VM', {})
    monkeypatch.setattr(util, 'find_spec', lambda _: 'libtpu')
    monkeypatch.setattr(jax.config, 'update', lambda *_: None)
    monkeypatch.setattr(topology.topologies, 'get_topology_desc', Mock(side_effect=jax.errors.JaxRuntimeError(text)))
    with pytest.raises(kind):
        topology.topology_devices('v9:1x1')


def test_a_chip_without_published_figures_is_named():
    devices = [types.SimpleNamespace(device_kind='TPU v9')]
    with pytest.raises(InputError, match='^--topology=v9:1x1: the figures of TPU v9 are not known'):
        step_cost.estimate(None, 1, 1, 'v9:1x1', devices)


def test_an_estimate_is_the_longer_of_moving_and_computing(monkeypatch):
    config = resolve_without_data(configuration.load('configs/small.py', ['epochs=2']))
    devices = [types.SimpleNamespace(device_kind='TPU v3')] * 8
    chip = step_cost.CHIPS['TPU v3']
    totals = types.SimpleNamespace(megacycles=5.0, collectives={}, unknown_loops=0)
    monkeypatch.setattr(step_cost, 'compile_step', Mock())
    monkeypatch.setattr(step_cost, 'bytes_of', lambda compiled: chip.memory + 1)
    for flops, moved, seconds, bound in (
        (0.001 * chip.peak, 0.002 * chip.bandwidth, 0.002, 'memory'),
        (0.003 * chip.peak, 0.002 * chip.bandwidth, 0.003, 'arithmetic'),
    ):
        monkeypatch.setattr(step_cost, 'counts', lambda compiled, *found: (flops, moved, 0.004, totals))  # noqa: B023
        found = step_cost.estimate(config, 1, 51_200, 'v3-8', devices)
        assert (found['step_ms'], found['compiler_ms']) == (pytest.approx(1e3 * seconds), 4.0)
        assert (found['bound'], found['fits']) == (bound, False)
        assert found['images_per_second'] == pytest.approx(512 / seconds)
        assert found['run_minutes'] == pytest.approx(2 * 100 * seconds / 60)
        assert found['bytes_per_image'] == pytest.approx(moved * 8 / 512)


@with_compiler
@pytest.mark.parametrize('name', ['v3-9', 'v9:1x1', ''])
def test_a_wrong_slice_is_one_line_with_the_choices(name):
    result = run('preflight', *SMALL, f'--topology=v3-8,{name}')
    assert (result.returncode, result.stdout, result.stderr.count('\n')) == (2, '', 1)
    assert all(choice in result.stderr for choice in (f'topology {name} ', *SLICES))


@with_compiler
def test_a_small_network_fits_a_v3_8_and_norm_groups_need_few_collectives(tmp_path):
    file = tmp_path / 'estimate.json'
    result = json.loads(run('preflight', *SMALL, '--topology=v3-8', '--json', f'--output={file}').stdout)
    assert json.loads(file.read_text()) == result
    assert (result['fits'], result['devices'], result['bound']) == (True, 8, 'memory')
    assert 0 < result['bytes_per_device'] < result['memory_per_device'] == 16 * 2**30
    assert result['collectives'].keys() == {'all-reduce'}
    assert 1 <= result['collectives']['all-reduce']['count'] <= 2  # as the compiler combines them
    assert result['collectives']['all-reduce']['bytes'] > 0
    assert result['step_ms'] == pytest.approx(result['bytes_per_image'] * 512 / 8 / 450e9 * 1e3)
    assert result['compiler_ms'] == pytest.approx(result['step_ms'], rel=0.2)
    assert result['images_per_second'] == pytest.approx(512 / result['step_ms'] * 1e3)
    assert result['run_minutes'] == pytest.approx(result['step_ms'] * (50_000 // 512) * 300 / 60e3)
    assert 5 < result['flops_per_image'] / result['macs_per_image'] < 20  # 2 each, forward and twice backward


@with_compiler
def test_several_slices_are_the_rows_of_a_table_and_what_does_not_fit_says_so():
    result = run('preflight', *SMALL, '--topology=v4-8,v5e:2x2', '--config.batch_size=1000000', '--images=1000000')
    *_, header, _, v4, v5e = result.stdout.splitlines()
    header, v4, v5e = ([cell.strip() for cell in line.split('|')] for line in (header, v4, v5e))
    assert header[1] == 'slice'
    assert v4[1:4] == ['v4-8', '4 × TPU v4', 'no']
    assert v5e[1:4] == ['v5e:2x2', '4 × TPU v5 lite', 'no']


def test_a_step_that_the_compiler_finds_too_large_is_told_by_its_size(monkeypatch):
    config = configuration.load('configs/small.py', ['dataset.on_device=true'])
    config = resolve_without_data(config)
    devices = [types.SimpleNamespace(device_kind='TPU v3')] * 8
    for text, size in (
        ('RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Used 20.50G of 15.75G hbm.', 20.5 * 2**30),
        ('RESOURCE_EXHAUSTED: HLO temporaries (512.0M) exceed', 2**29),
    ):
        monkeypatch.setattr(step_cost, 'compile_step', Mock(side_effect=jax.errors.JaxRuntimeError(text)))
        found = step_cost.estimate(config, 1, 50_000, 'v3-8', devices)
        assert (found['fits'], found['step_ms']) == (False, None)
        assert found['bytes_per_device'] == size + 50_000 * 32 * 32 * 3


@with_compiler
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
