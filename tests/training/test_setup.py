"""From a config to the parts of a run: the layout of a training batch."""

import types

import jax
import numpy as np
import pytest

from dsconv.config_checks import resolve
from dsconv.training.mesh import make_mesh
from dsconv.training.setup import build_network
from tests.conftest import tiny_config

CIFAR = types.SimpleNamespace(image_size=32, channels=3, class_names=('a', 'b'), flippable=True)


def tpu_mesh(devices):
    """Stands for a mesh of TPU cores: what the layout looks at."""
    core = types.SimpleNamespace(platform='tpu')
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
    network = build_network(config, tpu_mesh(8))
    assert (network.fold, network.shards) == (fold, shards)


def test_elsewhere_images_stay_whole():
    config = resolve(tiny_config(model__patch_size=2), CIFAR)
    assert build_network(config, make_mesh(jax.devices())).fold == 1
    assert (build_network(config).fold, build_network(config).shards) == (1, 1)
