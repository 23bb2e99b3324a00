"""What a TPU's compiler says; where it is not installed, that one line says how to get it."""

import json
from importlib import util

import jax
import pytest

from dsconv.errors import InputError, RunError
from dsconv.performance import topology
from tests.performance.process import HAS_COMPILER, run


def benchmark(*flags):
    return run('benchmark', '--config=configs/digits.py', '--what=augment', *flags)


@pytest.mark.skipif(HAS_COMPILER, reason='libtpu is installed')
def test_without_the_compiler_one_line_says_how_to_get_it():
    result = benchmark('--topology=v3:2x2x1')
    assert (result.returncode, result.stdout) == (2, '')
    assert result.stderr.splitlines() == [
        "python -m dsconv.benchmark: error: to compile for a TPU takes its compiler: pip install 'jax[tpu]'"
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
    def refuse(**_):
        raise jax.errors.JaxRuntimeError(text)

    monkeypatch.setattr(topology, '_NO_TPU_VM', {})
    monkeypatch.setattr(util, 'find_spec', lambda _: 'libtpu')
    monkeypatch.setattr(jax.config, 'update', lambda *_: None)
    monkeypatch.setattr(topology.topologies, 'get_topology_desc', refuse)
    with pytest.raises(kind):
        topology.topology_devices('v9:1x1')


@pytest.mark.skipif(not HAS_COMPILER, reason='libtpu is not installed')
def test_an_unknown_slice_is_named_in_one_line():
    result = benchmark('--topology=v9:1x1')
    assert (result.returncode, result.stdout) == (2, '')
    assert 'topology v9:1x1 is none that the compiler knows' in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(not HAS_COMPILER, reason='libtpu is not installed')
def test_augmentation_costs_the_difference_of_two_steps():
    small = ('--config.batch_size=64', '--config.model.dim=8', '--config.model.depth=1')
    result = json.loads(benchmark('--topology=v3:2x2x1', '--json', *small).stdout)
    assert result['devices'] == '8 × TPU v3'
    for key, difference in result['difference'].items():
        assert 0 < difference < result['with'][key]
        assert result['with'][key] == pytest.approx(result['without'][key] + difference)
