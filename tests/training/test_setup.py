"""From a config to the network of a run: how its images are folded, and in which form it is computed."""

import types

import jax
import numpy as np
import pytest

from dsconv.config_checks import resolve
from dsconv.models import DSConv, FastDSConv
from dsconv.training.mesh import make_mesh
from dsconv.training.setup import build_network, build_training
from tests.conftest import tiny_config

CIFAR = types.SimpleNamespace(image_size=32, channels=3, class_names=('a', 'b'), flippable=True, crop_scale=None)


def mesh_of(devices, platform='tpu'):
    """Stands for a mesh: what the choice of form and folding looks at."""
    core = types.SimpleNamespace(platform=platform)
    return types.SimpleNamespace(size=devices, devices=np.array([core] * devices))


@pytest.mark.parametrize(
    ('changed', 'fold', 'shards'),
    [
        ({'batch_size': 512}, 2, 8),  # 64 images a core
        ({'batch_size': 512, 'model__norm_groups': 16}, 2, 16),
        ({'batch_size': 1024}, 1, 8),
        ({'batch_size': 64}, 8, 8),  # 16 rows of patches into parts of 2, which a kernel of 5 needs
        ({'batch_size': 64, 'model__kernel_size': 7}, 4, 8),
        ({'batch_size': 64, 'model__fold': 4}, 4, 8),
    ],
)
def test_on_a_tpu_parts_of_images_fill_the_lanes(changed, fold, shards):
    config = resolve(tiny_config(**{'model__patch_size': 2, 'model__kernel_size': 5} | changed), CIFAR)
    network = build_network(config, mesh_of(8))
    assert (network.fold, network.shards) == (fold, shards)


def test_elsewhere_images_stay_whole():
    config = resolve(tiny_config(model__patch_size=2), CIFAR)
    assert build_network(config, make_mesh(jax.devices())).fold == 1
    assert (build_network(config).fold, build_network(config).shards) == (1, 1)


@pytest.mark.parametrize(
    ('platform', 'changes', 'network'),
    [
        ('cpu', {}, FastDSConv),
        ('tpu', {}, FastDSConv),
        ('gpu', {}, DSConv),
        ('gpu', {'model__remat': True}, FastDSConv),  # which plain has not
        ('gpu', {'model__implementation': 'fast'}, FastDSConv),
        ('cpu', {'model__implementation': 'plain'}, DSConv),
    ],
)
def test_auto_is_fast_where_that_is_faster(platform, changes, network):
    config = resolve(tiny_config(model__patch_size=2, **changes), CIFAR)
    assert type(build_network(config, mesh_of(8, platform))) is network
    assert type(build_network(config)) is (DSConv if changes.get('model__implementation') == 'plain' else FastDSConv)


def test_options_of_another_network_are_left_aside_with_a_line(caplog):
    config = tiny_config(model__dim=16)
    config.model.name = 'resnet8'  # as a file may
    caplog.set_level('INFO')
    build_training(resolve(config, CIFAR), 64, jax.devices()[:1])
    (line,) = [line for line in caplog.messages if 'left aside' in line]
    assert line == 'model.depth, model.dim, model.kernel_size, model.patch_size left aside: resnet8 does not take them'
