import os

import numpy as np
import pytest

from dsconv.errors import RunError
from dsconv.performance.worker import Worker, last_core, pictures

PEER = 'tests.performance.fake_peer'


def settings(variant):
    return {'batch_size': 512, 'core': last_core(), 'variant': variant}


def test_answers_whatever_its_library_prints():
    with Worker(PEER, settings('talks')) as worker:
        assert worker.missing is None
        assert all(worker.images_per_second(0.001) > 0 for _ in range(3))
        process = worker._process
        if hasattr(os, 'sched_getaffinity'):
            assert os.sched_getaffinity(process.pid) == {last_core()}
    assert process.poll() is not None


def test_says_what_is_missing():
    with Worker(PEER, settings('missing')) as worker:
        assert worker.missing == 'a_library_that_is_not_installed'
    with Worker('tests.performance.no_such_peer', settings('')) as worker:
        assert worker.missing == 'tests.performance.no_such_peer'


def test_a_failure_is_one_line():
    with pytest.raises(RunError, match=r'fake_peer failed: such thing$'):
        Worker(PEER, settings('broken'))
    with Worker(PEER, settings('dies')) as worker, pytest.raises(RunError, match='fake_peer failed: out of memory'):
        for _ in range(2):
            worker.images_per_second(0.001)


def test_pictures():
    images, labels = pictures({'batch_size': 64, 'image_shape': (8, 8, 3), 'classes': 10})
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((64, 8, 8, 3), np.uint8, (64,), np.int32)
    assert set(labels) == set(range(10))
