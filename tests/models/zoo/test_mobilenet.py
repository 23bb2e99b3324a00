"""MobileNetV2: the published counts; the strided depthwise convolution against XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dsconv.models import build_model
from dsconv.models.zoo import mobilenet
from dsconv.models.zoo.blocks import Conv
from dsconv.models.zoo.mobilenet import CIFAR_STRIDES, MobileNetV2, rounded
from tests.models.networks import check_forward_and_gradient, output_in_bfloat16, parameters


@pytest.mark.parametrize('strides', [mobilenet.IMAGENET_STRIDES, CIFAR_STRIDES])
def test_parameters_at_half_width_are_the_published_ones(strides):
    # Keras' MobileNetV2(alpha=0.5): 1,987,224, of which 18,544 are running statistics.
    assert parameters(MobileNetV2(1000, multiplier=0.5, strides=strides), (32, 32, 3)) == 1_968_680


def test_parameters_for_ten_classes():
    network = build_model({'name': 'mobilenetv2_050', 'dtype': 'float32'}, 10)
    assert parameters(network, (32, 32, 3)) == 1_968_680 - 990 * (1280 + 1)


def test_forward_and_gradient(monkeypatch):
    monkeypatch.setattr(mobilenet, 'STAGES', ((1, 8, 1), (2, 8, 2)))
    network = MobileNetV2(3, multiplier=0.5, strides=(2, 1, 2), norm_groups=2)
    check_forward_and_gradient(network, (9, 9, 3))
    assert output_in_bfloat16(network, (8, 8, 3)) == ((2, 3), jnp.float32, {jnp.dtype('float32')})


def test_features_are_rounded_as_in_table_2_at_half_width():
    assert [rounded(width / 2) for width in (32, 16, 24, 64, 96, 320)] == [16, 8, 16, 32, 48, 160]
    assert rounded(17) == 16
    assert rounded(11) == 16  # 8 would be less than nine tenths of it


@pytest.mark.parametrize('shape', [(2, 6, 7, 4), (1, 5, 5, 3)])
def test_a_depthwise_convolution_with_stride_is_that_of_xla(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    layer = Conv(shape[-1], (3, 3), (2, 2), padding=1, feature_group_count=shape[-1])
    variables = layer.init(jax.random.key(0), x)
    expected = lax.conv_general_dilated(
        x,
        variables['params']['kernel'],
        (2, 2),
        ((1, 1), (1, 1)),
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=shape[-1],
    )
    np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=1e-5, atol=1e-5)
