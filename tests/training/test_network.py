"""From a config to its network: how images are folded, and in which form the network is computed."""

import jax
import pytest

from dsconv.models import DSConv, FastDSConv
from dsconv.training.mesh import make_mesh
from dsconv.training.network import build_network
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
