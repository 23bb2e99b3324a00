"""Batch norm over groups against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dsconv.models.batch_norm import BatchNorm


@pytest.fixture(scope='module')
def images():
    """A mean and a spread of its own for every image and channel, so that no two groups look alike."""
    generator = np.random.default_rng(0)
    mean, spread = generator.normal(size=(12, 1, 1, 5)), generator.uniform(0.5, 2, (12, 1, 1, 5))
    return (mean + spread * generator.normal(size=(12, 3, 4, 5))).astype(np.float32)


@pytest.fixture(scope='module')
def variables():
    """Parameters and running statistics other than the initial ones."""
    scale, bias, mean, var = np.random.default_rng(1).uniform(0.5, 2, (4, 5)).astype(np.float32)
    return {'params': {'scale': scale, 'bias': bias}, 'batch_stats': {'mean': mean, 'var': var, 'count': np.float32(0)}}


@jax.jit(static_argnames=('groups', 'dtype'))
def train(variables, x, groups=1, dtype=jnp.float32):
    """Returns the output and the new statistics of a training step."""
    y, changed = BatchNorm(groups, dtype).apply(variables, x, True, mutable=['batch_stats'])
    return y, changed['batch_stats']


def normalise(x, params, mean, var):
    return (x - mean) / np.sqrt(var + 1e-3) * params['scale'] + params['bias']


def test_groups_are_normalised_by_themselves_and_running_statistics_follow_the_rule(images, variables):
    mean, var = (variables['batch_stats'][name].astype(np.float64) for name in ('mean', 'var'))
    statistics = variables['batch_stats']
    for n in range(4):
        batch = np.roll(images, n, axis=0) * (1 + n) + n
        y, statistics = train(variables | {'batch_stats': statistics}, batch, 3)
        parts = np.split(batch.astype(np.float64), 3)
        expected = [normalise(p, variables['params'], p.mean((0, 1, 2)), p.var((0, 1, 2))) for p in parts]
        np.testing.assert_allclose(y, np.concatenate(expected), rtol=1e-4, atol=1e-4)
        old = min(0.99, (1 + n) / (10 + n))
        mean = old * mean + (1 - old) * np.mean([part.mean((0, 1, 2)) for part in parts], axis=0)
        var = old * var + (1 - old) * np.mean([part.var((0, 1, 2)) for part in parts], axis=0)
    np.testing.assert_allclose(statistics['mean'], mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(statistics['var'], var, rtol=1e-4, atol=1e-4)
    assert statistics['count'] == 4


def test_momentum_ends_at_the_value_of_the_thesis(images, variables):
    # (1 + n) / (10 + n) passes 0.99 at n = 890.
    for count, old in ((800, 801 / 810), (900, 0.99)):
        statistics = variables['batch_stats'] | {'count': np.float32(count)}
        _, changed = train(variables | {'batch_stats': statistics}, images)
        expected = old * statistics['mean'] + (1 - old) * images.mean((0, 1, 2))
        np.testing.assert_allclose(changed['mean'], expected, rtol=1e-5)


def test_initialising_sees_no_data(images):
    initial = BatchNorm().init(jax.random.key(0), images + 5, True)
    values = {name: np.unique(leaf).tolist() for part in initial.values() for name, leaf in part.items()}
    assert values == {'mean': [0], 'var': [1], 'count': [0], 'scale': [1], 'bias': [0]}


def test_bfloat16_inputs_have_float32_statistics(images, variables):
    # A mean of 100 leaves bfloat16 steps of ½: statistics in it would be visibly wrong.
    narrow = jnp.asarray(images + 100, jnp.bfloat16)
    y, statistics = train(variables, narrow, 2, jnp.bfloat16)
    assert y.dtype == jnp.bfloat16
    parts = np.split(np.asarray(narrow, np.float64), 2)
    expected_var = 0.1 * variables['batch_stats']['var'] + 0.9 * np.mean([p.var((0, 1, 2)) for p in parts], axis=0)
    np.testing.assert_allclose(statistics['var'], expected_var, rtol=0.01)
    expected = [normalise(p, variables['params'], p.mean((0, 1, 2)), p.var((0, 1, 2))) for p in parts]
    np.testing.assert_allclose(np.asarray(y, np.float64), np.concatenate(expected), rtol=0.02, atol=0.02)


def test_a_large_mean_and_a_small_variance_stay_finite(images, variables):
    # E[x²] − E[x]² cancels to noise of either sign here.
    x = (1e3 + 1e-4 * images).astype(np.float32)
    y, statistics = train(variables, x, 3)
    gradient = jax.grad(lambda x: jnp.sum(jnp.square(train(variables, x, 3)[0])))(x)
    assert all(np.all(np.isfinite(a)) for a in (y, gradient, *statistics.values()))
    assert np.all(statistics['var'] >= 0)


def test_groups_on_devices_of_their_own_need_no_collective(variables):
    devices = jax.device_count()
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ('data',)), PartitionSpec('data'))
    x = np.random.default_rng(0).normal(size=(2 * devices, 2, 2, 5)).astype(np.float32)

    def output(x, groups):
        return BatchNorm(groups).apply(variables, x, True, mutable=['batch_stats'])[0]

    def collectives(groups):
        jitted = jax.jit(output, static_argnums=1, in_shardings=sharding, out_shardings=sharding)
        compiled = jitted.lower(x, groups).compile()
        # Nor do the devices change the mathematics.
        np.testing.assert_allclose(compiled(jax.device_put(x, sharding)), output(x, groups), rtol=1e-4, atol=1e-5)
        return any(name in compiled.as_text() for name in ('all-reduce', 'all-gather', 'all-to-all'))

    assert not collectives(devices)
    assert collectives(1)
