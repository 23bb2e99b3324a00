import contextlib
import errno
import json
import logging
import os
import re
import resource
import shutil
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from dsconv.data import Processes
from dsconv.errors import InputError, RunError
from dsconv.training import checkpoint
from dsconv.training.checkpoint import Checkpoints
from dsconv.training.checksums import checksums
from dsconv.training.mesh import make_mesh, replicated
from dsconv.training.state import Metrics, TrainState
from tests.runs import steps

VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


def make_state(step, scale=1.0, devices=1):
    state = TrainState(
        step=np.int32(step),
        variables={'params': {'layer': {'kernel': scale * VALUES}}, 'batch_stats': {'mean': scale * VALUES[0]}},
        average={'params': {'layer': {'kernel': 0.5 * VALUES}}},
        opt_state=({'count': np.int32(step)}, ()),
        metrics=Metrics.zeros(),
        nonfinite_steps=np.int32(0),
    )
    return jax.device_put(state, replicated(make_mesh(jax.devices()[:devices])))


def save(workdir, validations, keep=2):
    """Saves a state of each step, whose values grow with it, and its validation."""
    with Checkpoints(workdir, keep) as checkpoints:
        for step, validation in validations.items():
            checkpoints.save(make_state(step, scale=step), validation)


def restore(workdir):
    """The newest sound state."""
    with Checkpoints(workdir) as checkpoints:
        return checkpoints.restore_newest(make_state(1))


def test_the_newest_and_the_best_are_kept(tmp_path):
    save(tmp_path, {step: {'accuracy': accuracy} for step, accuracy in enumerate([0.1, 0.9, 0.5, 0.3, 0.4], start=1)})
    assert steps(tmp_path) == [2, 4, 5]
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert [checkpoints.choose(which) for which in (None, 'best', 'latest', '4')] == [2, 2, 5, 4]


def test_without_validation_the_newest_are_kept(tmp_path):
    save(tmp_path, dict.fromkeys((1, 2, 3)))
    assert steps(tmp_path) == [2, 3]
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.choose(None) == 3


def test_a_loss_that_is_a_nan_of_either_sign_is_no_damage(tmp_path):
    save(tmp_path, {1: {'accuracy': 0.5, 'loss': float(np.copysign(np.nan, -1))}})
    assert restore(tmp_path).step == 1


@pytest.mark.parametrize(('saved_on', 'restored_on'), [(8, 1), (1, 8)])
def test_a_state_restores_onto_other_devices(tmp_path, saved_on, restored_on):
    state = make_state(7, devices=saved_on)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, None)
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore_newest(make_state(0, devices=restored_on))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(restored), strict=True):
        np.testing.assert_array_equal(old, new)
        assert (new.dtype, len(new.sharding.device_set)) == (old.dtype, restored_on)


def test_a_state_may_be_donated_while_it_is_saved(tmp_path):
    state = make_state(1)
    double = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 2, state), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, None)
        for _ in range(5):
            state = double(state)
    np.testing.assert_array_equal(restore(tmp_path).variables['params']['layer']['kernel'], VALUES)
    assert jnp.max(state.variables['params']['layer']['kernel']) == 32 * VALUES.max()


@pytest.fixture
def two_saved(tmp_path):
    """A workdir of the checkpoints 3 and 4."""
    save(tmp_path, dict.fromkeys((3, 4), {'accuracy': 0.5}))
    return tmp_path


@pytest.mark.parametrize('has_checksum', [True, False])
def test_a_leaf_that_is_not_as_its_checksum_says_is_noticed_and_the_sound_ones_are_named(two_saved, has_checksum):
    file, kernel = two_saved / 'checkpoints' / '4' / 'checksums' / 'metadata', 4 * VALUES
    written, key = json.loads(file.read_text()), "['model']['variables']['params']['layer']['kernel']"
    assert written.pop(key) == checksums(kernel)['']
    kernel.view(np.uint32)[0, 1] ^= 1
    file.write_text(json.dumps(written | ({key: checksums(kernel)['']} if has_checksum else {})))
    shape, told = make_state(4), r"/4: damaged, wrong checksum of .*\['kernel'\]; .*available: 3\)"
    with Checkpoints(two_saved) as checkpoints, pytest.raises(InputError, match=told):
        checkpoints.restore_model(4, {'variables': shape.variables, 'average': shape.average})
    assert restore(two_saved).step == 3


@pytest.mark.parametrize(
    'how',
    [
        lambda step: [f.write_bytes(f.read_bytes()[: f.stat().st_size // 2]) for f in step.rglob('*') if f.is_file()],
        lambda step: shutil.rmtree(step / 'checksums'),
        lambda step: [shutil.rmtree(step), shutil.copytree(step.with_name('3'), step)],  # sound, of another step
        lambda step: [shutil.rmtree(step), step.write_bytes(b'')],
    ],
    ids=['truncated', 'without checksums', 'a copy of another', 'a file'],
)
def test_the_newest_sound_one_is_restored_and_the_damaged_are_kept(tmp_path, how, caplog):
    save(tmp_path, dict.fromkeys((3, 4, 5)), keep=3)
    for step in (4, 5):
        how(tmp_path / 'checkpoints' / str(step))
    with caplog.at_level(logging.WARNING, 'dsconv'), Checkpoints(tmp_path, keep=3) as checkpoints:
        state = checkpoints.restore_newest(make_state(1))
        checkpoints.save(make_state(4, scale=4), None)  # the number is free again
    assert state.step == 3
    np.testing.assert_array_equal(state.variables['params']['layer']['kernel'], 3 * VALUES)
    assert sorted(path.name for path in (tmp_path / 'damaged').iterdir()) == ['4', '5']
    assert steps(tmp_path) == [3, 4]
    for step in (4, 5):
        assert f'checkpoints/{step} is damaged and was moved to {tmp_path / "damaged" / str(step)}' in caplog.text


def test_a_lone_checkpoint_with_damaged_metrics_is_no_new_beginning(tmp_path):
    save(tmp_path, {4: {'accuracy': 0.9}})
    (tmp_path / 'checkpoints' / '4' / 'metrics' / 'metrics').write_bytes(b'[' * 100_000)
    for _ in range(2):
        with pytest.raises(InputError, match='none of the checkpoints'):
            Checkpoints(tmp_path)
    assert steps(tmp_path) == [4]


def test_damaged_metrics_stay_where_they_are_if_no_other_checkpoint_is_sound(two_saved):
    (two_saved / 'checkpoints' / '3' / 'metrics' / 'metrics').write_bytes(b'')
    shutil.rmtree(two_saved / 'checkpoints' / '4' / 'checksums')
    for _ in range(2):
        with pytest.raises(InputError, match='none of the checkpoints'):
            restore(two_saved)
    assert steps(two_saved) == [3, 4] and not any((two_saved / 'damaged').iterdir())


@pytest.mark.parametrize('written', ['{"accuracy": 0.1}', '{"accuracy": 0.1, "los', None])
def test_an_older_one_with_damaged_metrics_is_kept_too(tmp_path, written):
    save(tmp_path, {1: {'accuracy': 0.9}, 2: {'accuracy': 0.5}}, keep=1)
    file = tmp_path / 'checkpoints' / '1' / 'metrics' / 'metrics'
    file.write_text(written) if written else shutil.rmtree(file.parent)
    with pytest.raises(InputError, match='/1 is damaged: move it to another place'):
        Checkpoints(tmp_path, read_only=True)
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        assert checkpoints.restore_newest(make_state(1)).step == 2
        checkpoints.save(make_state(3), {'accuracy': 0.4})
    assert steps(tmp_path) == [2, 3]
    assert (tmp_path / 'damaged' / '1').is_dir()


def test_one_that_a_run_is_deleting_is_not_called_damaged(two_saved, monkeypatch):
    step = two_saved / 'checkpoints' / '3'
    shutil.rmtree(step / 'metrics')
    monkeypatch.setattr(checkpoint.time, 'sleep', lambda _: shutil.rmtree(step))
    with Checkpoints(two_saved, read_only=True) as checkpoints:
        assert checkpoints.choose(None) == 4


@pytest.mark.parametrize(
    'fault',
    [
        PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
        ValueError('ABORTED: Error opening "zarr" driver: [OS error 116: ESTALE Stale file handle]'),  # of TensorStore
    ],
    ids=str,
)
def test_a_passing_fault_ends_the_run_and_moves_nothing(two_saved, monkeypatch, fault):
    with Checkpoints(two_saved) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr(ocp.CheckpointManager, 'restore', Mock(side_effect=fault))
            with pytest.raises(RunError, match=f'could not be read .{type(fault).__name__}.*{re.escape(str(fault))}'):
                checkpoints.restore_newest(make_state(1))
        assert checkpoints.restore_newest(make_state(1)).step == 4
    assert steps(two_saved) == [3, 4]
    assert not (two_saved / 'damaged').exists()


@pytest.fixture
def stale(two_saved, monkeypatch):
    """`stale(place, times)`: so often the status of a path below `checkpoints` cannot be read."""
    status, left = os.stat, {}

    def stat(path, *arguments, **named):
        if left.get(path := str(path), 0) > 0:
            left[path] -= 1
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return status(path, *arguments, **named)

    monkeypatch.setattr(os, 'stat', stat)
    return lambda place, times: left.update({str(two_saved / 'checkpoints' / place): times})


@pytest.mark.parametrize('place', ['4/model', '4/checksums/metadata'])
def test_a_status_that_cannot_be_read_once_does_not_mean_that_the_file_is_missing(two_saved, stale, place):
    with Checkpoints(two_saved) as checkpoints:
        stale(place, times=1)
        assert checkpoints.restore_newest(make_state(1)).step == 4
    assert not (two_saved / 'damaged').exists()


@pytest.mark.parametrize('place', ['', '4'])  # Orbax would find no checkpoint at all, or an older one
def test_what_is_there_and_not_found_ends_the_run(two_saved, stale, place):
    stale(place, times=1000)
    with pytest.raises(RunError, match='could not be read .* are unchanged: run the same command again'):
        Checkpoints(two_saved)
    stale(place, times=0)
    assert steps(two_saved) == [3, 4]
    assert not (two_saved / 'damaged').exists()


@contextlib.contextmanager
def limited(kind, most):
    """Limits a resource of this process; pytest needs it as well, so that no test may end within."""
    limits = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, limits)


def test_too_many_open_files_are_no_damage(two_saved):
    with Checkpoints(two_saved) as checkpoints:
        with pytest.raises(RunError, match='Too many open files'), limited(resource.RLIMIT_NOFILE, 3):
            checkpoints.restore_newest(make_state(1))
        assert checkpoints.restore_newest(make_state(1)).step == 4
    assert not (two_saved / 'damaged').exists()


def test_a_checkpoint_that_cannot_be_written_is_said(tmp_path):
    save(tmp_path, {1: None})
    said = r'could not be written to .*; complete checkpoints: 1\.'
    with pytest.raises(RunError, match=said), limited(resource.RLIMIT_FSIZE, 64):
        save(tmp_path, {2: None})
    assert restore(tmp_path).step == 1


def test_what_one_process_of_a_run_cannot_restore_no_other_restores(two_saved, monkeypatch):
    def gather(array):  # its peer agrees, and finds a fault in every checkpoint
        return np.stack([array, np.ones_like(array) if array.dtype == bool else array])

    monkeypatch.setattr(checkpoint, 'peers', lambda: Processes(0, 2, gather))
    message = 'none of the checkpoints .* config.json does not match them. To start from the beginning, move'
    with Checkpoints(two_saved) as checkpoints, pytest.raises(InputError, match=message):
        checkpoints.restore_newest(make_state(1))
    assert steps(two_saved) == [3, 4]
