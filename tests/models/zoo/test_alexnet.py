"""AlexNet: the published count, local response norm against loops, the smallest image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsconv.errors import InputError
from dsconv.models import build_model
from dsconv.models.zoo.alexnet import AlexNet, local_response_norm
from tests.models.networks import check_forward_and_gradient, output_in_bfloat16, parameters

TINY = AlexNet(3, features=(4, 4, 4, 4, 4), stem=(3, 1, 1), hidden=(8, 8), smallest=15)


def test_parameters_are_those_of_the_network_in_one_piece():
    # 11²·3·96 + 5²·96·256 + 9·(256·384 + 384² + 384·256), 9216·4096 + 4096² + 4096·1000, and a bias an output.
    assert parameters(build_model({'name': 'alexnet', 'dtype': 'float32'}, 1000), (227, 227, 3)) == 62_378_344


def test_parameters_for_cifar():
    convolutions = 9 * 3 * 64 + 25 * 64 * 192 + 9 * (192 * 384 + 384 * 256 + 256 * 256) + 64 + 192 + 384 + 2 * 256
    dense = 3 * 3 * 256 * 1024 + 1024 * 1024 + 1024 * 10 + 2 * 1024 + 10
    assert (
        parameters(build_model({'name': 'alexnet_cifar', 'dtype': 'float32'}, 10), (32, 32, 3)) == convolutions + dense
    )


def test_forward_and_gradient():
    check_forward_and_gradient(TINY.clone(hidden=(64,)), (15, 15, 3))


def test_bfloat16_ends_in_float32():
    assert output_in_bfloat16(TINY, (15, 15, 3)) == ((2, 3), jnp.float32, {jnp.dtype('float32')})


def test_local_response_norm_is_the_formula_of_section_3_3():
    x = 30 * np.random.default_rng(0).normal(size=(2, 2, 2, 7)).astype(np.float32)
    expected = np.empty_like(x)
    for i in range(7):
        neighbours = x[..., max(0, i - 2) : min(6, i + 2) + 1]
        expected[..., i] = x[..., i] / (2 + 1e-4 * (neighbours**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(local_response_norm(x), expected, rtol=1e-5)


@pytest.mark.parametrize('name', ['alexnet', 'alexnet_cifar'])
def test_the_smallest_image_leaves_one_place(name):
    network = build_model({'name': name, 'dtype': 'float32'}, 10)
    smallest = network.smallest

    def inputs_of_the_first_dense_layer(network, side):
        variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, side, side, 3)))
        return variables['params']['hidden_1']['kernel'].shape[0]

    assert inputs_of_the_first_dense_layer(network, smallest) == 256
    with pytest.raises(InputError, match=f'needs {smallest}×{smallest} or more; take another'):
        inputs_of_the_first_dense_layer(network, smallest - 1)
    assert inputs_of_the_first_dense_layer(network.clone(smallest=1), smallest - 1) == 0
