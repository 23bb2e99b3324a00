import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsconv.errors import InputError
from dsconv.training.checkpoint import Checkpoints, with_shardings
from dsconv.training.mesh import make_mesh, replicated
from dsconv.training.state import Metrics, TrainState

VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


def make_state(step, scale=1.0, devices=1, averaging=True):
    state = TrainState(
        step=np.int32(step),
        variables={'params': {'layer': {'kernel': scale * VALUES}}, 'batch_stats': {'mean': scale * VALUES[0]}},
        average={'params': {'layer': {'kernel': 0.5 * VALUES}}} if averaging else None,
        opt_state=({'count': np.int32(step)}, ()),
        metrics=Metrics.zeros(),
    )
    return jax.device_put(state, replicated(make_mesh(jax.devices()[:devices])))


def shape_of(state, devices=1):
    return with_shardings(jax.eval_shape(lambda: state), replicated(make_mesh(jax.devices()[:devices])))


def saved_steps(workdir):
    return sorted(int(path.name) for path in (workdir / 'checkpoints').iterdir() if path.name.isdecimal())


def test_the_newest_and_the_best_are_kept(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step, accuracy in enumerate([0.1, 0.9, 0.5, 0.3, 0.4], start=1):
            checkpoints.save(make_state(step), {'accuracy': accuracy, 'loss': 1.0})
    assert saved_steps(tmp_path) == [2, 4, 5]
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert [checkpoints.choose(which) for which in (None, 'best', 'latest', '4')] == [2, 2, 5, 4]
        with pytest.raises(InputError, match='--checkpoint=3: there are latest, best, 2, 4, 5'):
            checkpoints.choose('3')


def test_of_equally_good_ones_the_later_is_the_best(tmp_path):
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        for step, accuracy in enumerate([0.9, 0.9, 0.2], start=1):
            checkpoints.save(make_state(step), {'accuracy': accuracy})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.choose('best') == 2


def test_without_validation_there_is_no_best(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(make_state(step), None)
    assert saved_steps(tmp_path) == [2, 3]
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.choose(None) == 3
        with pytest.raises(InputError, match='no validation split to choose the best by'):
            checkpoints.choose('best')


def test_an_empty_workdir_has_none(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() is None
        with pytest.raises(InputError, match='holds no checkpoint yet'):
            checkpoints.choose(None)


@pytest.mark.parametrize(('saved_on', 'restored_on'), [(8, 1), (1, 8), (8, 2)])
def test_a_state_restores_onto_other_devices(tmp_path, saved_on, restored_on):
    state = make_state(7, devices=saved_on)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, None)
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(7, shape_of(state, restored_on))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(restored), strict=True):
        np.testing.assert_array_equal(old, new)
        assert (new.dtype, len(new.sharding.device_set)) == (old.dtype, restored_on)


@pytest.mark.parametrize('averaging', [True, False])
def test_the_model_alone_can_be_restored(tmp_path, averaging):
    state = make_state(3, averaging=averaging)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, None)
    shape = shape_of(state)
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        model = checkpoints.restore_model(3, {'variables': shape.variables, 'average': shape.average})
    np.testing.assert_array_equal(model['variables']['params']['layer']['kernel'], VALUES)
    assert (model['average'] is not None) == averaging


def test_a_state_may_be_donated_while_it_is_saved(tmp_path):
    state = make_state(1)
    double = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 2, state), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, None)
        for _ in range(5):
            state = double(state)
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(1, shape_of(make_state(1)))
    np.testing.assert_array_equal(restored.variables['params']['layer']['kernel'], VALUES)
    assert jnp.max(state.variables['params']['layer']['kernel']) == 32 * VALUES.max()


def test_a_damaged_checkpoint_is_named_with_the_others(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step in (3, 4):
            checkpoints.save(make_state(step), None)
    for file in (tmp_path / 'checkpoints' / '4').rglob('*'):
        if file.is_file() and 'commit' not in file.name:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(InputError, match='/4 cannot be restored .* are: 3'):
        checkpoints.restore(4, shape_of(make_state(4)))


def test_a_checkpoint_of_another_network_is_not_restored(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(make_state(3), None)
    other = make_state(3)
    other = other.replace(variables={'params': {'layer': {'kernel': jnp.zeros((5, 2))}}})
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(InputError, match='config.json is not its own'):
        checkpoints.restore(3, shape_of(other))
