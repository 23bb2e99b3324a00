import jax
import numpy as np
import pytest

from dsconv.data import open_source
from dsconv.data.corruptions import CIFAR10_C, CORRUPTIONS, SEVERITIES, corrupt
from dsconv.data.splits import Split
from dsconv.training.evaluation import Evaluator
from dsconv.training.mesh import make_mesh
from dsconv.training.network import build_network, image_shape
from dsconv.training.robustness import robustness
from dsconv.training.setup import open_data
from dsconv.training.state import init_variables
from dsconv.training.step import normalise
from tests.conftest import tiny_config


def test_accuracy_is_that_of_the_network_on_the_corrupted_images(monkeypatch):
    few = {name: CORRUPTIONS[name] for name in ('gaussian_noise', 'contrast')}
    monkeypatch.setattr('dsconv.training.robustness.CORRUPTIONS', few)
    source, _, config = open_data(tiny_config(eval__batch_size=16, seed=5))
    network = build_network(config)
    variables = init_variables(network, image_shape(config), seed=1)
    images = source.load('test').images(np.arange(40))
    mean, std = config.dataset.mean, config.dataset.std
    predict = jax.jit(lambda images: network.apply(variables, normalise(images, mean, std)).argmax(axis=1))
    labels = np.asarray(predict(images), np.int32)  # right on every clean image
    split = Split(labels, images.__getitem__, True)
    scores = robustness(Evaluator(config, network, make_mesh(jax.devices()[:2])), variables, config, 'test', split)
    expected = {
        name: [float(np.mean(predict(corrupt(images, name, severity, seed=5)) == labels)) for severity in range(1, 6)]
        for name in few
    }
    assert scores['accuracy'] == {name: pytest.approx(values, abs=1e-6) for name, values in expected.items()}
    assert scores['mean_accuracy'] == pytest.approx(np.mean(list(expected.values())))
    assert 0 < scores['mean_accuracy'] < 1


def test_cifar10_is_scored_on_the_published_corruptions_where_they_are_prepared(tmp_path, monkeypatch):
    tfds = pytest.importorskip('tensorflow_datasets')
    from tests.data.test_tfds_source import IMAGES, store, store_examples

    features = {'image': tfds.features.Image(shape=(32, 32, 3)), 'label': tfds.features.ClassLabel(num_classes=10)}

    def prepare(corruption, labels):
        examples = [{'image': IMAGES[0], 'label': label} for label in labels]
        store_examples(tmp_path, 'cifar10_corrupted', '1.0.0', features, {'test': examples}, config=corruption)

    store(tmp_path, test=IMAGES[:1])
    config = tiny_config(dataset__name='cifar10', dataset__data_dir=tmp_path)
    config.dataset.image_size, config.dataset.channels = 32, 3
    monkeypatch.setattr('dsconv.training.robustness.CIFAR10_C', ('snow', 'fog'))
    monkeypatch.setattr('dsconv.training.robustness.CORRUPTIONS', {'contrast': CORRUPTIONS['contrast']})
    examples = open_source(config.dataset).load('test')

    class Labels:
        """Stands for an Evaluator; scores the share of class 3."""

        def score(self, variables, split):
            labels = np.concatenate([labels for _, labels in split.in_order(4, slice(None))])
            return {'accuracy': np.mean(labels == 3)}

    for severity in range(1, 6):
        prepare(f'snow_{severity}', [3])
    scores = robustness(Labels(), None, config, 'test', examples)
    assert list(scores['accuracy']) == ['contrast'] and scores['source'].startswith('made by dsconv')  # fog is missing
    for severity in range(1, 6):
        prepare(f'fog_{severity}', [3] * severity + [1] * (5 - severity))
    scores = robustness(Labels(), None, config, 'test', examples)
    assert scores['accuracy'] == {'snow': [1] * 5, 'fog': pytest.approx([0.2, 0.4, 0.6, 0.8, 1])}
    assert 'published CIFAR-10-C' in scores['source']
    assert list(robustness(Labels(), None, config, 'validation', examples)['accuracy']) == ['contrast']
    config.dataset.splits = ('train=test', 'test=train')
    assert list(robustness(Labels(), None, config, 'test', examples)['accuracy']) == ['contrast']


def test_the_names_of_cifar10_c_are_those_of_tensorflow_datasets():
    tfds = pytest.importorskip('tensorflow_datasets')
    configs = {config.name for config in tfds.builder_cls('cifar10_corrupted').BUILDER_CONFIGS}
    extra = ('gaussian_blur', 'saturate', 'spatter', 'speckle_noise')  # which the paper leaves out of the mean
    assert configs == {f'{name}_{severity}' for name in (*CIFAR10_C, *extra) for severity in SEVERITIES}
