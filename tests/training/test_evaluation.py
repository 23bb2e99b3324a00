"""Every example counts once: the same figures from any batch size and device count, and from scikit-learn."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, log_loss

from dsconv import data
from dsconv.errors import InputError
from dsconv.training.evaluation import Evaluator
from dsconv.training.mesh import make_mesh
from dsconv.training.network import build_network, image_shape
from dsconv.training.setup import open_data
from dsconv.training.state import init_variables
from dsconv.training.step import normalise
from tests.conftest import tiny_config


@pytest.fixture(scope='module')
def scored():
    source, _, config = open_data(tiny_config())
    network, split = build_network(config), source.load('test')
    variables = init_variables(network, image_shape(config), seed=2)
    images, labels, mask = next(data.eval_batches(split, batch_size=split.num_examples + 1))
    logits = jax.jit(network.apply)(variables, normalise(images, config.dataset.mean, config.dataset.std))
    assert logits[-1].argmax() == labels[-1]  # padding that were counted would be right
    return config, network, variables, split, labels[mask], softmax(np.asarray(logits, np.float64)[mask], axis=1)


@pytest.mark.parametrize(('batch_size', 'devices'), [(1000, 8), (5, 8), (7, 1)])
def test_scores_do_not_depend_on_batch_size_and_devices(scored, batch_size, devices):
    config, network, variables, split, labels, probabilities = scored
    config = config.copy_and_resolve_references()
    config.eval.batch_size = batch_size
    evaluator = Evaluator(config, network, make_mesh(jax.devices()[:devices]))
    scores = evaluator.score(variables, split)
    assert scores['accuracy'] == pytest.approx(accuracy_score(labels, probabilities.argmax(1)), abs=1e-9)
    assert scores['loss'] == pytest.approx(log_loss(labels, probabilities, labels=range(10)), rel=1e-4)
    log_probabilities = evaluator.log_probabilities(variables, split)
    assert log_probabilities.shape == (360, 10)
    assert all(len(images) < 368 for images, _, _ in evaluator._batches(split))
    np.testing.assert_allclose(np.exp(log_probabilities), probabilities, atol=1e-5)


@pytest.mark.parametrize(('flip', 'count'), [('random', 6), ('none', 3)])
def test_test_time_augmentation_is_the_mean_over_views_that_numpy_makes(scored, flip, count):
    config, network, variables, split, *_ = scored
    config = config.copy_and_resolve_references()
    config.augment.flip = flip
    plain, expected = Evaluator(config, network), []
    for mirrored in (False, True)[: count // 3]:
        for shift in (0, 1, -1):
            rows = np.clip(np.arange(8) - shift, 0, 7)  # moves down-right by `shift`, the edge repeated

            def images(indices, rows=rows, mirrored=mirrored):
                view = split.images(indices)[:, rows][:, :, rows]
                return view[:, :, ::-1] if mirrored else view

            expected.append(plain.log_probabilities(variables, dataclasses.replace(split, images=images)))
    found = Evaluator(config, network, tta=True).log_probabilities(variables, split)
    assert len(expected) == count and np.abs(found - expected[0]).max() > 0.01
    np.testing.assert_allclose(found, log_softmax(np.mean(expected, axis=0), axis=1), atol=1e-5)


def test_too_little_memory_is_said_with_what_helps(scored, monkeypatch):
    config, network, variables, split, *_ = scored
    evaluator = Evaluator(config, network)

    def full(*_):
        raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.')

    monkeypatch.setattr(evaluator, '_score', full)
    monkeypatch.setattr(evaluator, '_forward', full)
    for score, remedy in (('score', r'eval.batch_size below \d+'), ('log_probabilities', 'JAX_PLATFORMS=cpu')):
        with pytest.raises(InputError, match=f'not have enough memory .*{remedy}'):
            getattr(evaluator, score)(variables, split)
