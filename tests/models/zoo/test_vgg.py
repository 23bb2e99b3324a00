"""VGG: the published counts, the smallest image."""

import jax
import jax.numpy as jnp
import pytest

from dsconv.errors import InputError
from dsconv.models import build_model
from dsconv.models.zoo.vgg import VGG
from tests.models.networks import check_forward_and_gradient, output_in_bfloat16, parameters


@pytest.mark.parametrize(
    ('name', 'classes', 'side', 'count'),
    [
        ('vgg16', 1000, 224, 138_357_544),  # Simonyan & Zisserman, table 2: 138 M
        ('vgg19', 1000, 224, 143_667_240),  # 144 M
        # vgg16's convolutions have 14,710,464 weights and 4,224 outputs, here with scale and shift; head 5,130.
        ('vgg16_cifar', 10, 32, 14_724_042),
    ],
)
def test_parameters(name, classes, side, count):
    assert parameters(build_model({'name': name, 'dtype': 'float32'}, classes), (side, side, 3)) == count


@pytest.mark.parametrize('options', [dict(hidden=(16,)), dict(hidden=(), batch_norm=True, norm_groups=2)], ids=str)
def test_forward_and_gradient(options):
    network = VGG(3, stages=(1, 2), features=(4, 8), **options)
    check_forward_and_gradient(network, (8, 9, 3))
    assert output_in_bfloat16(network, (8, 8, 3)) == ((2, 3), jnp.float32, {jnp.dtype('float32')})


def test_an_image_that_pooling_leaves_nothing_of_is_refused():
    network = build_model({'name': 'vgg16_cifar', 'dtype': 'float32'}, 10)
    with pytest.raises(InputError, match='images of 31×32 are too small for this network, which needs 32×32 or more'):
        jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 31, 32, 3)))
