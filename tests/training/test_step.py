"""The training step against NumPy, against itself on other device counts and by several steps a dispatch."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dsconv import data
from dsconv.augment import make_augment
from dsconv.training.distillation import make_soft_targets
from dsconv.training.mesh import make_mesh, to_global
from dsconv.training.setup import build_training, open_data
from dsconv.training.state import Metrics, create_state
from dsconv.training.step import _add, make_train_step, normalise
from tests.conftest import tiny_config

STEPS = 6
SMOOTHING = 0.2


@pytest.fixture(scope='module')
def batches():
    config = tiny_config(
        optimizer__ema_decay=0.9, model__norm_groups=8, model__depth=0, loss__label_smoothing=SMOOTHING
    )
    _, split, config = open_data(config)
    stream = data.train_batches(split, batch_size=64, seed=0, start_step=0, num_steps=STEPS)
    images, labels = (np.stack(parts) for parts in zip(*stream, strict=True))
    return config, split.num_examples, images, labels


def changed(config, changes):
    """A copy of the config with other values, by dotted key."""
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(changes)
    return config


def run(batches, devices, steps_a_dispatch=1, **changes):
    """Losses of each step and the last state after `STEPS` steps on so many devices."""
    config, num_examples, images, labels = batches
    training = build_training(changed(config, changes), num_examples, jax.devices()[:devices])
    state, losses = training.new_state(), []
    for start in range(0, STEPS, steps_a_dispatch):
        part = slice(start, start + steps_a_dispatch)
        state, loss = training.train_step(state, *to_global(training.mesh, (images[part], labels[part]), 1))
        losses.append(float(loss))
    return losses, jax.device_get(state), training


@pytest.fixture(scope='module')
def on_eight(batches):
    return run(batches, devices=8)


def test_the_first_loss_is_the_smoothed_cross_entropy_of_the_augmented_batch(batches, on_eight):
    config, _, images, labels = batches
    losses, _, training = on_eight
    augment = make_augment(config.to_dict(), 10)
    key = jax.random.fold_in(jax.random.key(config.seed), 0)

    @jax.jit
    def forward(variables):
        augmented, targets = augment(key, 0, images[0], labels[0])
        inputs = normalise(augmented, config.dataset.mean, config.dataset.std)
        return training.model.apply(variables, inputs, train=True, mutable='batch_stats')[0], targets

    logits, targets = (np.asarray(array, np.float64) for array in forward(training.new_state().variables))
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    smoothed = (1 - SMOOTHING) * targets + SMOOTHING / 10
    assert losses[0] == pytest.approx(-np.mean(np.sum(smoothed * log_probabilities, axis=1)), rel=1e-5)


def test_other_devices_microbatches_and_steps_a_dispatch_change_nothing(batches, on_eight):
    losses, state, _ = on_eight
    others, other_state, training = run(batches, devices=2, steps_a_dispatch=3, accumulation_steps=2)
    assert training.model.norm_groups == 4  # of the 8, in each microbatch
    np.testing.assert_allclose(others, [losses[2], losses[5]], rtol=2e-4)
    assert other_state.step == state.step == STEPS
    assert other_state.metrics.loss == pytest.approx(float(state.metrics.loss), rel=1e-4)
    assert other_state.metrics.accuracy == pytest.approx(float(state.metrics.accuracy), abs=0.02)
    for a, b in zip(jax.tree.leaves(state.variables), jax.tree.leaves(other_state.variables), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)


def test_the_step_is_for_any_platform(batches):
    config, num_examples, images, labels = batches
    mixed = {'augment.policy': 'either', 'augment.mix_probability': 0.5, 'model.dtype': 'bfloat16', 'model.depth': 1}
    training = build_training(changed(config, mixed), num_examples, jax.devices()[:1])
    traced = training.train_step.trace(jax.eval_shape(training.new_state), images[:1], labels[:1])
    for platform in ('cuda', 'tpu'):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert 'func.func public @main' in text and 'stablehlo.convolution' in text
        assert re.findall(r'custom_call @\w+', text) == []  # a kernel of one maker's


def test_normalise_is_per_channel():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 3), dtype=np.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    expected = (images / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(normalise(images, mean, std), expected, rtol=1e-4, atol=1e-5)


def as_it_is(key, epoch, images, labels):
    return images, jax.nn.one_hot(labels, 10)


def alone(config, network):
    """The training step of another network, without augmentation, on one device, and its first state."""
    mesh, optimizer = make_mesh(jax.devices()[:1]), optax.sgd(0.1)
    step = make_train_step(config, network, optimizer, as_it_is, make_soft_targets(config, mesh), 10, mesh)
    return step, create_state(network, optimizer, (8, 8, 1), 0, averaging=False)


class Dropped(nn.Module):
    """Keeps the mask that dropout drew, 0 or 2 a feature of each image of a microbatch, as a batch statistic."""

    @nn.compact
    def __call__(self, images, train=False):
        mask = self.variable('batch_stats', 'mask', jnp.zeros, (len(images), 32))
        mask.value = nn.Dropout(0.5, deterministic=not train)(jnp.ones_like(mask.value))
        return nn.Dense(10)(images.reshape(len(images), -1))


def test_dropout_differs_by_image_microbatch_and_step(batches):
    config, _, images, labels = batches

    def masks(microbatches):
        """The means over the microbatches of the masks of the first two steps."""
        step, state = alone(changed(config, {'accumulation_steps': microbatches}), Dropped())
        seen = []
        for number in range(2):
            state, _ = step(state, images[number : number + 1], labels[number : number + 1])
            seen.append(np.asarray(state.variables['batch_stats']['mask']))
        return seen

    first, second = masks(1)
    assert set(np.unique(first)) == {0, 2}
    assert len(np.unique(first, axis=0)) == len(first)
    assert not np.array_equal(first, second)
    # The mean of two masks is 1 where they differ, half of the places.
    assert np.mean(masks(2)[0] == 1) == pytest.approx(0.5, abs=0.1)


class Kinked(nn.Module):
    """Finite logits, whose gradient is not a number."""

    @nn.compact
    def __call__(self, images, train=False):
        kink = self.param('kink', nn.initializers.zeros, (10,))
        return nn.Dense(10)(images.reshape(len(images), -1)) + jnp.sqrt(jnp.square(kink))


def test_a_step_of_a_finite_loss_and_a_gradient_that_is_not_is_skipped(batches):
    config, _, images, labels = batches
    step, state = alone(changed(config, {'max_skipped_steps': 1}), Kinked())
    before = jax.device_get(state.variables)
    state, loss = step(state, images[:1], labels[:1])
    assert np.isfinite(loss) and (state.nonfinite_steps, state.metrics.nonfinite_step) == (1, 1)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.variables), before)


class Halves(nn.Module):
    @nn.compact
    def __call__(self, images, train=False):
        return nn.Dense(10, name='head')(nn.Dense(4, name='body')(images.reshape(len(images), -1)))


def test_the_gradient_of_a_frozen_module_is_zero_and_not_in_the_norm(batches):
    config, _, images, labels = batches
    step, state = alone(changed(config, {'optimizer.freeze': ('body',)}), Halves())
    before = jax.device_get(state.variables['params'])
    state, _ = step(state, images[:1], labels[:1])
    moved = jax.tree.map(lambda new, old: (old - new) / 0.1, jax.device_get(state.variables['params']), before)
    assert not np.any(moved['body']['kernel'])
    squares = sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(moved['head']))
    assert state.metrics.grad_norm == pytest.approx(np.sqrt(squares), rel=1e-3)


def test_a_step_that_is_not_finite_is_in_no_average():
    nan, sums = jnp.float32(jnp.nan), Metrics.zeros()
    sums = _add(sums, jnp.int32(1), jnp.bool_(True), jnp.float32(2), jnp.float32(0.25), jnp.float32(3))
    sums = _add(sums, jnp.int32(2), jnp.bool_(False), nan, jnp.float32(0.5), nan)
    assert (sums.steps, sums.loss, sums.accuracy, sums.grad_norm) == (1, 2, 0.25, 3)
    assert sums.nonfinite_step == 2
