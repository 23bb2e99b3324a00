"""The parts of a run: the statistics of its images, its initial weights, the order of its images."""

import jax
import numpy as np
import pytest

from dsconv import data
from dsconv.training.loop import dispatches
from dsconv.training.network import image_shape
from dsconv.training.progress import Progress
from dsconv.training.setup import build_training, open_data
from dsconv.training.state import init_variables
from tests.conftest import tiny_config


def test_of_mean_and_deviation_what_is_given_stays_and_the_other_is_the_datas():
    _, split, config = open_data(tiny_config(dataset__mean='0.25', dataset__balanced=True))
    pixels = split.images(np.arange(split.num_examples)) / 255
    assert config.dataset.mean == (0.25,) and split.balanced
    assert config.dataset.std == pytest.approx((pixels.std(),), abs=1e-6)
    _, split, config = open_data(tiny_config(dataset__std='0.5'))
    assert config.dataset.std == (0.5,) and not split.balanced
    assert config.dataset.mean == pytest.approx((pixels.mean(),), abs=1e-6)


def test_the_seed_is_that_of_the_initial_weights_and_of_the_order_of_the_images():
    _, split, config = open_data(tiny_config(seed=3, model__depth=0))
    training = build_training(config, split.num_examples, jax.devices()[:1])
    expected = init_variables(training.model, image_shape(config), 3)
    jax.tree.map(np.testing.assert_array_equal, training.new_state().variables, jax.device_get(expected))
    progress = Progress(config, training, 0)
    _, (images, _) = next(dispatches(config, training, split, 0, progress))
    batch, _ = next(data.train_batches(split, batch_size=config.batch_size, seed=3, start_step=0, num_steps=1))
    np.testing.assert_array_equal(images[0], batch)
