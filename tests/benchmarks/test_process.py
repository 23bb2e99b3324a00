import os
import sys

import pytest

from benchmarks.process import Process, last_core
from dsconv.errors import RunError
from dsconv.process import ALLOCATOR


def started(variant='', environment=(), **settings):
    plain = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    return Process('tests.benchmarks.fake_library', {'variant': variant} | settings, plain | dict(environment))


def test_answers_in_order_whatever_its_library_prints():
    with started(core=last_core()) as process:
        assert (process.facts, process.missing) == ({'parameters': 7, 'allocator': 'as installed'}, None)
        if hasattr(os, 'sched_getaffinity'):
            assert os.sched_getaffinity(process._process.pid) == {last_core()}
        assert process.call('inference')['values'] == [[1] * 10] * 64
        answer = process.call('train', 3)
        assert (len(answer['seconds']), answer['values']) == (3, 4)  # the value of the last call
        assert isinstance(process.call('train', seconds=0.001)['seconds'], float)  # a mean
        child = process._process
    assert child.poll() is not None


def test_what_fails_is_one_line():
    for variant, message in (('broken', 'room$'), ('killed', 'exit code -9$')):
        with pytest.raises(RunError, match=f'fake_library failed: {message}'):
            started(variant)
    with started('dies') as process:
        for _ in range(2):  # no answer, then nobody who reads
            with pytest.raises(RunError, match='fake_library failed: out of memory'):
                process.call('train')


@pytest.mark.skipif(sys.platform != 'linux', reason='the settings are those of glibc')
def test_every_way_in_has_the_tuned_allocator():
    on_cpu = {'JAX_PLATFORMS': 'cpu'}
    for environment, settings, allocator in [
        (ALLOCATOR, {}, 'tuned'),  # a peer with dsconv's settings
        (on_cpu, {'as_command': True}, 'tuned'),  # dsconv, which restarts itself as its commands do
        (on_cpu | {'DSCONV_ALLOCATOR': 'system'}, {'as_command': True}, 'as installed'),
    ]:
        with started(environment=environment, **settings) as process:
            assert process.facts['allocator'] == allocator
