"""Residual networks: published counts, the shortcuts, and the convolution against XLA's own and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from dsconv.models import build_model
from dsconv.models.zoo.resnet import Block, ConvNorm, ResNet, padded_shortcut
from tests.models.networks import check_forward_and_gradient, output_in_bfloat16, parameters


def named(name, classes=10):
    return build_model({'name': name, 'dtype': 'float32'}, classes)


@pytest.mark.parametrize(
    ('name', 'classes', 'side', 'count'),
    [
        # Stem 3·9·16, stages 6·9·16², 9·16·32 + 5·9·32², 9·32·64 + 5·9·64², norms 2·(7·16 + 6·32 + 6·64), head 650.
        ('resnet20', 10, 32, 269_722),  # He et al., table 6: 0.27 M
        ('resnet56', 10, 32, 853_018),  # the same with 18 and 17 convolutions a stage; 0.85 M
        ('resnet50', 1000, 224, 25_557_032),  # as torchvision's documentation has it
    ],
)
def test_parameters_are_the_published_ones(name, classes, side, count):
    assert parameters(named(name, classes), (side, side, 3)) == count


def test_resnet8_is_that_of_mlperf_tiny():
    # The Keras model has 78,666 in all, of which running mean and variance of (3·16 + 2·32 + 2·64) channels.
    variables = jax.eval_shape(named('resnet8').init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    trainable = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
    statistics = [
        leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables['batch_stats'])
        if path[-1].key != 'count'
    ]
    assert trainable == 78_186
    assert trainable + sum(statistics) == 78_666


@pytest.mark.parametrize(
    'network',
    [
        ResNet(3, stages=(1, 1), width=4),
        ResNet(3, stages=(1, 1), width=4, bottleneck=True, shortcut='conv_norm', large_stem=True, norm_groups=2),
    ],
    ids=['basic', 'bottleneck'],
)
def test_forward_and_gradient(network):
    check_forward_and_gradient(network, (9, 9, 3))


@pytest.mark.parametrize('shortcut', ['pad', 'conv', 'conv_norm'])
def test_bfloat16_ends_in_float32(shortcut):
    network = ResNet(3, stages=(1, 1), width=4, shortcut=shortcut, use_bias=True)
    assert output_in_bfloat16(network, (8, 8, 3)) == ((2, 3), jnp.float32, {jnp.dtype('float32')})


def test_option_a_takes_every_other_place_and_adds_zeros():
    x = np.arange(2 * 5 * 4 * 3, dtype=np.float32).reshape(2, 5, 4, 3)
    y = padded_shortcut(x, 7, 2)
    assert y.shape == (2, 3, 2, 7)
    for row in range(3):
        for column in range(2):
            assert np.array_equal(y[:, row, column, :3], x[:, 2 * row, 2 * column])
    assert not np.any(y[..., 3:])


def test_a_block_is_the_relu_of_shortcut_plus_branch():
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)
    block = Block(((4, 3, 2), (4, 3, 1)), 'pad', ConvNorm)
    variables = jax.jit(block.init, static_argnums=2)(jax.random.key(0), x, False)
    kernels = [np.asarray(variables['params'][name]['conv']['kernel'], np.float64) for name in ('conv_1', 'conv_2')]
    initial_norm = 1 / np.sqrt(1 + 1e-3)  # mean 0, variance 1, and this project's epsilon
    y = np.maximum(by_scipy(x, kernels[0], 2) * initial_norm, 0)
    y = by_scipy(y, kernels[1], 1) * initial_norm
    y[..., :3] += x[:, ::2, ::2]
    np.testing.assert_allclose(block.apply(variables, x, False), np.maximum(y, 0), rtol=1e-4, atol=1e-5)


def by_scipy(x, kernel, stride):
    """A 3×3 convolution with a zero on each side, one image, channel and feature at a time."""
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    outputs = [
        [
            sum(scipy.signal.correlate2d(image[..., c], kernel[..., c, f], 'valid') for c in range(image.shape[-1]))
            for f in range(kernel.shape[-1])
        ]
        for image in padded
    ]
    return np.moveaxis(np.array(outputs), 1, -1)[:, ::stride, ::stride]
