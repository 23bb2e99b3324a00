import os
import subprocess
import sys

import pytest

from dsconv.config import ROOT
from dsconv.errors import RunError
from dsconv.performance.contender import CHECKED, measure_apart, measure_here
from dsconv.process import ALLOCATOR

PEER = 'tests.performance.fake_network_peer'


def measured(variant='', environment=(), as_command=False):
    plain = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    settings = {'variant': variant, 'steps': 3, 'as_command': as_command}
    return measure_apart(PEER, settings, plain | dict(environment))


def test_a_process_tells_what_it_found_whatever_its_library_prints():
    facts = measured()
    assert facts['logits'] == [[1] * 10] * CHECKED  # before any training
    assert facts['losses'] == [2, 3]  # of the steps that warm up
    assert (len(facts['train']), len(facts['inference']), facts['parameters']) == (3, 3, 7)
    assert min(facts['train'] + facts['inference']) >= 0
    assert facts['allocator'] == 'as installed'
    assert measured('nan')['logits'][0] == [None] * 10


def test_the_order_is_logits_training_inference():
    calls, steps = [], 4
    network = {
        'parameters': 1,
        'train': lambda: calls.append('train') or 0.5,
        'inference': lambda: calls.append('inference') or [[0.0]],
    }
    measure_here(network, steps)
    assert calls == ['inference', *['train'] * (2 + steps), *['inference'] * (1 + steps)]


def test_the_allocator_is_that_of_the_environment():
    assert measured(environment=ALLOCATOR)['allocator'] == 'tuned'


@pytest.mark.skipif(sys.platform != 'linux', reason='the settings are those of glibc')
def test_as_a_command_it_tunes_itself():
    assert measured(environment={'JAX_PLATFORMS': 'cpu'}, as_command=True)['allocator'] == 'tuned'
    as_it_is = {'JAX_PLATFORMS': 'cpu', 'DSCONV_ALLOCATOR': 'system'}
    assert measured(environment=as_it_is, as_command=True)['allocator'] == 'as installed'


def test_failures():
    assert measured('missing') == {'missing': 'a_library_that_is_not_installed'}
    with pytest.raises(RunError, match=r'fake_network_peer failed: room$'):
        measured('dies')
    with pytest.raises(RunError, match=r'fake_network_peer failed: exit code -9$'):
        measured('killed')


def test_no_library_is_imported_before_the_peers_own():
    code = (
        'import sys, dsconv.performance.contender; '
        'print(*{"jax", "flax", "tensorflow", "torch", "keras"} & sys.modules.keys())'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ''
