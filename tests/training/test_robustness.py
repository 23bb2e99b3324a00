import jax
import numpy as np
import pytest

from dsconv.data.corruptions import CORRUPTIONS, corrupt
from dsconv.data.splits import Split
from dsconv.training.evaluation import Evaluator
from dsconv.training.mesh import make_mesh
from dsconv.training.robustness import robustness
from dsconv.training.setup import build_network, image_shape, open_data
from dsconv.training.state import init_variables
from dsconv.training.step import normalise
from tests.conftest import tiny_config


def test_accuracy_is_that_of_the_network_on_the_corrupted_images():
    source, _, config = open_data(tiny_config(eval__batch_size=16))
    network = build_network(config)
    variables = init_variables(network, image_shape(config), seed=1)
    images = source.load('test').images(np.arange(40))
    mean, std = config.dataset.mean, config.dataset.std
    predict = jax.jit(lambda images: network.apply(variables, normalise(images, mean, std)).argmax(axis=1))
    labels = np.asarray(predict(images), np.int32)  # right on every clean image
    split = Split(labels, images.__getitem__, True)
    scores = robustness(Evaluator(config, network, make_mesh(jax.devices()[:2])), variables, split, seed=5)
    expected = {
        name: [float(np.mean(predict(corrupt(images, name, severity, seed=5)) == labels)) for severity in range(1, 6)]
        for name in CORRUPTIONS
    }
    assert scores['accuracy'] == {name: pytest.approx(values, abs=1e-6) for name, values in expected.items()}
    assert scores['mean_accuracy'] == pytest.approx(np.mean(list(expected.values())))
    assert 0 < scores['mean_accuracy'] < 1
