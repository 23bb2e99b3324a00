"""Targets that teachers make softer, against NumPy; steps that learn from them alone; teachers that do not fit."""

import shutil

import jax
import numpy as np
import pytest

from dsconv import config as configuration
from dsconv.errors import InputError
from dsconv.training.checkpoint import Checkpoints
from dsconv.training.distillation import make_soft_targets, resolve_teachers
from dsconv.training.mesh import make_mesh, to_global
from dsconv.training.network import restore_network
from dsconv.training.run import check_workdir
from dsconv.training.setup import build_training
from tests.conftest import tiny_config


def config_with(teachers, weight, **dataset):
    """A tiny run on images like the digits that learns from `teachers`."""
    config = tiny_config(loss__teachers=','.join(map(str, teachers)), loss__teacher_weight=weight, augment__flip='none')
    config.dataset.update({'image_size': 8, 'channels': 1, 'class_names': tuple('0123456789'), **dataset})
    config.dataset.update(mean=(0.1,), std=(0.9,))  # not those of the teachers
    return config


@pytest.fixture(scope='module')
def teachers(finished_run, tmp_path_factory):
    """Two runs, the second with a sharper head, and a function from uint8 images to the logits of both."""
    sharper = tmp_path_factory.mktemp('teachers') / 'sharper'
    sharper.mkdir()
    shutil.copy(finished_run / 'config.json', sharper)
    config = configuration.load_run(finished_run)
    network, variables, step = restore_network(finished_run, config)
    both = [variables, jax.tree.map(lambda leaf: leaf, variables)]
    both[1]['params']['head'] = jax.tree.map(lambda leaf: 3 * leaf, variables['params']['head'])
    with Checkpoints(sharper) as checkpoints:
        checkpoints.save_network(step, both[1])

    def logits(images):
        inputs = (images / 255 - np.array(config.dataset.mean)) / np.array(config.dataset.std)
        return [np.asarray(network.apply(each, inputs.astype(np.float32)), np.float64) for each in both]

    return (finished_run, sharper), logits


def batch_of(images):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (images, 8, 8, 1), np.uint8), generator.integers(0, 10, images, np.int32)


def test_targets_are_the_labels_and_the_mean_probabilities_of_the_teachers(teachers):
    paths, logits = teachers
    images, labels = batch_of(32)
    targets = np.eye(10, dtype=np.float32)[labels]
    odds = [np.exp(each) for each in logits(images)]
    probabilities = [each / each.sum(axis=1, keepdims=True) for each in odds]
    assert np.abs(probabilities[0] - probabilities[1]).max() > 0.1
    mesh = make_mesh()
    soft = jax.jit(make_soft_targets(config_with(paths, 0.25), mesh))(*to_global(mesh, (images, targets)))
    np.testing.assert_allclose(soft, 0.75 * targets + 0.25 * np.mean(probabilities, axis=0), atol=1e-5)


def test_with_a_weight_of_one_only_the_accuracy_is_of_the_labels(teachers):
    config = config_with(teachers[0][:1], 1.0)
    training = build_training(config, 64)
    images, labels = batch_of(64)
    states = []
    for given in (labels, (labels + 1) % 10):
        batch = to_global(training.mesh, (images[None], given[None]), 1)
        states.append(jax.device_get(training.train_step(training.new_state(), *batch)[0]))
    jax.tree.map(np.testing.assert_array_equal, *(state.variables for state in states))
    assert states[0].metrics.loss == states[1].metrics.loss
    assert states[0].metrics.accuracy != states[1].metrics.accuracy


def test_a_run_knows_its_teachers_by_their_weights_and_not_by_their_place(teachers, tmp_path, monkeypatch):
    run, sharper = teachers[0]
    shutil.copytree(run, tmp_path / 'moved')
    monkeypatch.chdir(tmp_path)
    began, moved, other, none = (config_with([path], 0.5) for path in (run, 'moved', sharper, run))
    none.loss.update(teachers=None, teacher_fingerprints=('f00',))
    for config in (began, moved, other, none):
        resolve_teachers(config.loss)
    assert moved.loss.teachers == (str(tmp_path / 'moved'),) and none.loss.teacher_fingerprints is None
    configuration.save_run(tmp_path / 'taught', began, {})
    (tmp_path / 'taught' / 'report').mkdir()
    check_workdir(tmp_path / 'taught', moved)
    with pytest.raises(InputError, match=r'taught contains another run \(loss.teacher_fingerprints: '):
        check_workdir(tmp_path / 'taught', other)
    other.loss.teachers = began.loss.teachers
    with pytest.raises(InputError, match='the weights are not those of loss.teacher_fingerprints'):
        resolve_teachers(other.loss)


@pytest.mark.parametrize(
    ('dataset', 'message'),
    [
        ({'class_names': tuple('1023456789')}, 'was trained with dataset.class_names=0,1,2.*the same classes, in the'),
        ({'image_size': 16}, 'was trained with dataset.image_size=8, here it is 16'),
    ],
)
def test_a_teacher_of_other_classes_or_images_is_refused(finished_run, dataset, message):
    with pytest.raises(InputError, match=f'loss.teachers=.*: it {message}'):
        make_soft_targets(config_with([finished_run], 0.5, **dataset), make_mesh())
