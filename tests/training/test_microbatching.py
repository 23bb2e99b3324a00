"""How a batch is cut into microbatches and parts of images: what is chosen, what is refused, what stays the same."""

import types

import jax
import numpy as np
import pytest

from dsconv.config_checks import resolve
from dsconv.errors import InputError
from dsconv.training.mesh import batch_sharding, make_mesh
from dsconv.training.microbatching import accumulation_steps, inference_steps, over_microbatches
from tests.conftest import tiny_config

CIFAR = types.SimpleNamespace(image_size=32, channels=3, class_names=('a', 'b'), flippable=True, crop_scale=None)


def mesh_of(platform, count, stats=None):
    """Stands for a mesh of `count` devices, which tell `stats` of their memory, one dict each."""
    told = stats or [None] * count
    devices = [types.SimpleNamespace(platform=platform, memory_stats=lambda own=own: own) for own in told]
    return types.SimpleNamespace(size=count, devices=np.array(devices), local_devices=devices)


def make_config(model__name='dsconv', **changes):
    config = tiny_config(**{'model__patch_size': 2, 'model__kernel_size': 5, 'model__dim': 128} | changes)
    config.model.name = model__name  # as a config file may, whatever it sets for dsconv
    return resolve(config, CIFAR)


@pytest.mark.parametrize(
    ('platform', 'devices', 'changes', 'steps'),
    [
        ('cpu', 1, {'batch_size': 512, 'model__norm_groups': 8}, 8),
        ('cpu', 1, {'batch_size': 512, 'model__norm_groups': 64}, 16),  # 32 images
        # Another network has batch norm, whatever the key says, and no patches.
        ('cpu', 1, {'batch_size': 512, 'model__norm': 'none', 'model__name': 'resnet20'}, 1),
        ('tpu', 1, {'batch_size': 512, 'model__name': 'vit_tiny', 'accumulation_steps': 4}, 4),
        ('cpu', 1, {'batch_size': 512, 'model__name': 'vit_tiny'}, 1),
        ('cpu', 2, {'batch_size': 512, 'model__norm_groups': 8}, 4),
        ('cpu', 8, {'batch_size': 960, 'model__norm_groups': 20}, 1),  # some groups are on two devices
        ('tpu', 1, {'batch_size': 512, 'model__norm_groups': 8}, 1),
        ('tpu', 8, {'batch_size': 512, 'model__norm_groups': 32, 'accumulation_steps': 4}, 4),
    ],
)
def test_microbatches_leave_groups_and_devices_whole(platform, devices, changes, steps):
    assert accumulation_steps(make_config(**changes), mesh_of(platform, devices)) == steps


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model__norm_groups': 8, 'accumulation_steps': 2}, r'set model\.norm_groups to a multiple of 16'),
        ({'model__norm': 'none', 'accumulation_steps': 3}, r'set batch_size to a multiple of 24'),
    ],
)
def test_a_microbatch_that_cuts_a_group_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        accumulation_steps(make_config(batch_size=512, **changes), mesh_of('tpu', 8))


def test_rows_keep_their_order_and_their_devices():
    mesh, x = make_mesh(jax.devices()[:4]), np.arange(48, dtype=np.float32).reshape(16, 3)
    cut = jax.jit(lambda x: over_microbatches(lambda part: part[:, :2] + 1, 2, 4, x), in_shardings=batch_sharding(mesh))
    compiled = cut.lower(x).compile()
    np.testing.assert_array_equal(compiled(jax.device_put(x, batch_sharding(mesh))), x[:, :2] + 1)
    moves = ('all-to-all', 'all-gather', 'collective-permute')
    assert not any(name in compiled.as_text() for name in moves)


@pytest.mark.parametrize(('platform', 'images', 'steps'), [('cpu', 500, 20), ('cpu', 499, 1), ('tpu', 256, 1)])
def test_inference_goes_through_a_cpu_in_parts(platform, images, steps):
    assert inference_steps(make_config(), images, mesh_of(platform, 1)) == steps
