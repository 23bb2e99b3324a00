"""Eight fake CPU devices for the whole process, and a tiny network on digits that the tests share."""

import logging
import os

# The programs of the tests run briefly; most of the time goes into compiling them.
os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0'
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'

import jax
import numpy as np
import pytest
from PIL import Image

from dsconv import config as configuration

TINY = {
    'batch_size': '64', 'epochs': '3', 'schedule.warmup_epochs': '1', 'schedule.end_value': '5e-5', 'model.dim': '8',
    'model.depth': '1', 'loss.label_smoothing': '0', 'augment.policy': 'none', 'optimizer.ema_decay': 'none',
    'log.every_steps': '7', 'log.tensorboard': 'false', 'checkpoint.every_epochs': '1',
}  # fmt: skip


def tiny_config(**overrides):
    """Returns the digits config with a network of 8 channels and one block; `__` in a key stands for a dot."""
    changes = {key.replace('__', '.'): str(value) for key, value in overrides.items()}
    of_dsconv = {'model.dim', 'model.depth'} if 'model.name' in changes else set()  # another network refuses them
    changes = {key: value for key, value in TINY.items() if key not in of_dsconv} | changes
    return configuration.load('configs/digits.py', [f'{key}={value}' for key, value in changes.items()])


@pytest.fixture(scope='session', autouse=True)
def compilation_cache(tmp_path_factory):
    """Shares one compilation cache among the tests and workers of this session: compiling takes most of their time."""
    directory = tmp_path_factory.getbasetemp()
    directory = directory.parent if 'PYTEST_XDIST_WORKER' in os.environ else directory
    jax.config.update('jax_compilation_cache_dir', str(directory / 'compiled'))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)


@pytest.fixture(autouse=True)
def level_of_the_log():
    """Resets the log level that a command sets, so that no test depends on the tests before it."""
    yield
    logging.getLogger('dsconv').setLevel(logging.NOTSET)


@pytest.fixture(scope='session')
def finished_run(tmp_path_factory):
    """The workdir of a finished tiny run with its report. Tests must not change it."""
    from dsconv.training.loop import train
    from dsconv.training.scoring import report_run

    workdir = tmp_path_factory.mktemp('runs') / 'digits'
    assert train(tiny_config(), workdir)
    report_run(workdir, 'test', calibrate=True)
    return workdir


@pytest.fixture
def write_pictures(tmp_path):
    """Writes `count` random size×size PNGs per class into `tmp_path/root/<folder>/<class>`; returns the root."""

    def write(classes=('cat', 'dog'), count=10, size=8, folder='', root='pictures'):
        # The pictures of each folder differ, but `train` has those of no folder, because both are read alike.
        generator = np.random.default_rng(list(folder.removeprefix('train').encode()))
        for name in classes:
            path = tmp_path / root / folder / name
            path.mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (size, size, 3), np.uint8)
                Image.fromarray(pixels).save(path / f'{i:03d}.png')
        return tmp_path / root

    return write
