"""From a config to the network of a run: how its images are folded, and in which form it is computed."""

import types

import numpy as np
import pytest

from dsconv.config_checks import resolve
from dsconv.models import DSConv, FastDSConv
from dsconv.training.mesh import make_mesh
from dsconv.training.setup import build_network
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
        ({'batch_size': 64}, 8, 8),  # 16 rows of patches into parts of 2, which a kernel of 5 needs
        ({'batch_size': 64, 'model__fold': 4}, 4, 8),
    ],
)
def test_on_a_tpu_parts_of_images_fill_the_lanes(changed, fold, shards):
    config = resolve(tiny_config(**{'model__patch_size': 2, 'model__kernel_size': 5} | changed), CIFAR)
    network = build_network(config, mesh_of(8))
    assert (network.fold, network.shards) == (fold, shards)


def test_elsewhere_images_stay_whole():
    config = resolve(tiny_config(model__patch_size=2), CIFAR)
    for network in (build_network(config, make_mesh()), build_network(config)):
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
def test_auto_is_fast_where_that_is_faster(platform, changes, network):
    config = resolve(tiny_config(model__patch_size=2, **changes), CIFAR)
    assert type(build_network(config, mesh_of(8, platform))) is network
    assert type(build_network(config)) is (DSConv if changes.get('model__implementation') == 'plain' else FastDSConv)
