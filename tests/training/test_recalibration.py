"""Batch norm's statistics estimated again: against the network that normalises by the very batch."""

import dataclasses
import functools
import shutil

import jax
import numpy as np
import pytest

from dsconv import data
from dsconv.reporting import read_metrics
from dsconv.training.evaluation import scored_variables
from dsconv.training.loop import train
from dsconv.training.recalibration import recalibrate
from dsconv.training.scoring import report_run
from dsconv.training.setup import build_training, open_data
from dsconv.training.step import normalise
from tests.conftest import tiny_config
from tests.models.networks import ACTIVATION_FORMULAS

STEPS = 5


@pytest.fixture(scope='module')
def trained():
    """(config, training, state after a few steps with averaged weights, training split)."""
    _, split, config = open_data(tiny_config(eval__recalibration_batches=1, optimizer__ema_decay=0.9))
    training = build_training(config, split.num_examples, jax.devices()[:1])
    state = training.new_state()
    for images, labels in batches(config, split, STEPS):
        state, _ = training.train_step(state, images[None], labels[None])
    return config, training, state, split


def batches(config, split, count):
    return data.train_batches(split, batch_size=config.batch_size, seed=config.seed, start_step=0, num_steps=count)


def logits(config, training, variables, images, train):
    inputs = normalise(images, config.dataset.mean, config.dataset.std)
    apply = functools.partial(training.model.apply, train=train, mutable=['batch_stats'] if train else [])
    return np.asarray(jax.jit(apply)(variables, inputs)[0])


@pytest.mark.parametrize(('averaging', 'skipped'), [(False, 0), (True, 2), (True, STEPS)])
def test_of_one_batch_the_network_scores_it_as_if_by_its_own_statistics(trained, averaging, skipped):
    config, training, state, split = trained
    state = state.replace(nonfinite_steps=skipped) if averaging else state.replace(average=None)
    images, _ = next(iter(batches(config, split, 1)))
    before = scored_variables(config, state.variables, state.average, STEPS - skipped)
    after_state = recalibrate(config, training, state, split)
    after = scored_variables(config, after_state.variables, after_state.average, STEPS - skipped)
    by_itself = logits(config, training, before, images, train=True)
    np.testing.assert_allclose(logits(config, training, after, images, train=False), by_itself, atol=2e-4)
    assert np.abs(logits(config, training, before, images, train=False) - by_itself).max() > 1e-2
    assert jax.tree.all(jax.tree.map(np.array_equal, after['params'], before['params']))
    if averaging and skipped < STEPS:
        assert jax.tree.all(jax.tree.map(np.array_equal, after_state.variables, state.variables))


def test_of_several_batches_and_groups_the_statistics_are_the_means_whatever_is_cropped(trained):
    config, _, state, split = trained
    several = config.copy_and_resolve_references()
    several.eval.recalibration_batches, several.model.norm_groups, several.accumulation_steps = 3, 4, 2
    training = build_training(several, split.num_examples, jax.devices()[:1])
    cropped = dataclasses.replace(split, cropped=lambda indices, *_: 0 * split.images(indices))
    result = recalibrate(several, training, state.replace(average=None), cropped).variables['batch_stats']
    stem = jax.tree.map(np.asarray, state.variables['params']['stem'])
    activations = []
    for images, _ in batches(config, split, 3):
        x = np.asarray(normalise(images, config.dataset.mean, config.dataset.std)) @ stem['kernel'][0, 0] + stem['bias']
        activations.extend(np.split(ACTIVATION_FORMULAS['gelu'](x), 4))
    statistics = result['stem_unit']['batch_norm']
    mean = np.mean([x.mean(axis=(0, 1, 2)) for x in activations], axis=0)
    var = np.mean([x.var(axis=(0, 1, 2)) for x in activations], axis=0)
    np.testing.assert_allclose(statistics['mean'], mean, atol=1e-5)
    np.testing.assert_allclose(statistics['var'], var, atol=1e-5)
    assert statistics['count'] == STEPS


def test_a_network_without_batch_norm_stays_as_it_is():
    _, split, config = open_data(tiny_config(model__norm='layer', model__depth=0, eval__recalibration_batches=1))
    training = build_training(config, split.num_examples, jax.devices()[:1])
    state = training.new_state()
    assert recalibrate(config, training, state, split) is state


def test_a_run_ends_with_it_and_the_checkpoint_holds_it(finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / 'run')
    shutil.rmtree(run / 'checkpoints' / '57')
    assert train(tiny_config(eval__recalibration_batches=4), run)
    (*earlier, last), (*earlier_plain, last_plain) = (
        [line['loss'] for line in read_metrics(workdir) if line['split'] == 'validation']
        for workdir in (run, finished_run)
    )
    assert earlier == earlier_plain
    assert last != last_plain
    assert report_run(run, 'validation', 'latest')['loss'] == pytest.approx(last, rel=1e-5)
