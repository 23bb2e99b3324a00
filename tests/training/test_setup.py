"""From a config to the network of a run: how its images are folded, and in which form it is computed."""

import jax
import numpy as np
import pytest

from dsconv import data
from dsconv.models import DSConv, FastDSConv
from dsconv.training.loop import dispatches
from dsconv.training.mesh import make_mesh
from dsconv.training.progress import Progress
from dsconv.training.setup import build_network, build_training, image_shape, open_data
from dsconv.training.state import init_variables
from tests.conftest import tiny_config
from tests.training.test_microbatching import make_config, mesh_of


@pytest.mark.parametrize(
    ('changes', 'fold', 'shards'),
    [
        ({'batch_size': 512}, 2, 8),  # 64 images a core
        ({'batch_size': 512, 'model__norm_groups': 16}, 2, 16),
        ({'batch_size': 512, 'model__norm_groups': 16, 'accumulation_steps': 2}, 4, 8),
        ({'batch_size': 64}, 8, 8),  # 16 rows of patches into parts of 2, which a kernel of 5 needs
        ({'batch_size': 64, 'model__fold': 4}, 4, 8),
        # Without batch norm a microbatch, of 80 images here, may cut a group: the shards still divide it.
        ({'batch_size': 240, 'model__norm_groups': 10, 'model__norm': 'layer', 'accumulation_steps': 3}, 8, 8),
    ],
)
def test_on_a_tpu_parts_of_images_fill_the_lanes(changes, fold, shards):
    network = build_network(make_config(**changes), mesh_of('tpu', 8))
    assert (network.fold, network.shards) == (fold, shards)


def test_elsewhere_images_stay_whole():
    for mesh in (make_mesh(), mesh_of('gpu', 8), None):
        network = build_network(make_config(model__implementation='fast'), mesh)
        assert network.fold == 1
    assert network.shards == 1


@pytest.mark.parametrize(
    ('platform', 'changes', 'network'),
    [
        ('tpu', {}, FastDSConv),
        ('gpu', {}, DSConv),
        ('gpu', {'model__remat': True}, FastDSConv),  # which plain has not
        ('cpu', {'model__implementation': 'plain'}, DSConv),
    ],
)
def test_auto_is_fast_where_that_is_faster(platform, changes, network, monkeypatch):
    config = make_config(**changes)
    assert type(build_network(config, mesh_of(platform, 8))) is network
    monkeypatch.setattr(jax, 'default_backend', lambda: platform)
    assert type(build_network(config)) is network  # for inference


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
