"""DenseNet-BC: its count, and what a layer sees."""

import jax
import jax.numpy as jnp
import pytest

from dsconv.errors import InputError
from dsconv.models import build_model
from dsconv.models.zoo.densenet import DenseNet
from tests.models.networks import check_forward_and_gradient, output_in_bfloat16, parameters

TINY = DenseNet(3, growth=2, layers=(2, 1))


def test_parameters_of_40_12():
    channels, expected = 24, 9 * 3 * 24
    for block in range(3):
        for _ in range(6):
            expected += 2 * channels + channels * 48 + 2 * 48 + 9 * 48 * 12
            channels += 12
        if block < 2:
            expected += 2 * channels + channels * channels // 2
            channels //= 2
    expected += 2 * channels + channels * 10 + 10
    assert expected == 176_122
    assert parameters(build_model({'name': 'densenet_40_12', 'dtype': 'float32'}, 10), (32, 32, 3)) == expected


def test_forward_and_gradient():
    check_forward_and_gradient(TINY, (6, 6, 3))


def test_bfloat16_ends_in_float32():
    assert output_in_bfloat16(TINY, (6, 6, 3)) == ((2, 3), jnp.float32, {jnp.dtype('float32')})


def test_an_image_that_pooling_leaves_nothing_of_is_refused():
    with pytest.raises(InputError, match='needs 2×2 or more'):
        jax.eval_shape(TINY.init, jax.random.key(0), jnp.zeros((1, 1, 1, 3)))
