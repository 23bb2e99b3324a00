"""The networks to compare with: published counts, what each must do on a tiny variant, and what is its own."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from dsconv.errors import InputError
from dsconv.models import MODELS, FastDSConv, build_model
from dsconv.models.batch_norm import BatchNorm
from dsconv.models.complexity import CONVOLUTIONS, NORMS, layer_costs
from dsconv.models.zoo import blocks
from dsconv.models.zoo.alexnet import AlexNet, local_response_norm
from dsconv.models.zoo.convmixer import ConvMixer
from dsconv.models.zoo.densenet import DenseNet
from dsconv.models.zoo.mobilenet import MobileNetV2, rounded
from dsconv.models.zoo.resnet import Block, ConvNorm, ResNet
from dsconv.models.zoo.vgg import VGG
from dsconv.models.zoo.vit import ViT
from dsconv.training.network import count_parameters
from tests.models.networks import convolve, drawn_variables
from tests.models.test_batch_norm import normalise


def named(name, classes=10):
    return build_model({'name': name, 'dtype': 'float32'}, classes)


COUNTS = [
    # 11²·3·96 + 5²·96·256 + 9·(256·384 + 384² + 384·256), 9216·4096 + 4096² + 4096·1000, and a bias an output.
    ('alexnet', 1000, 227, 62_378_344),
    ('alexnet_cifar', 10, 32, 5_868_362),
    # Stem 2²·3·256, of each layer 5²·256 + 256², a bias and scale and shift behind each convolution; head 2570.
    ('convmixer_256_8', 10, 32, 594_186),
    ('densenet_40_12', 10, 32, 176_122),
    ('mobilenetv2_050', 1000, 32, 1_968_680),  # Keras: 1,987,224, of which 18,544 are running statistics
    ('resnet8', 10, 32, 78_186),  # MLPerf Tiny: 78,666 with the running statistics of 240 channels
    ('resnet20', 10, 32, 269_722),  # He et al., table 6: 0.27 M
    ('resnet56', 10, 32, 853_018),  # 0.85 M
    ('resnet50', 1000, 224, 25_557_032),  # torchvision
    ('vgg16', 1000, 224, 138_357_544),  # Simonyan & Zisserman, table 2: 138 M
    ('vgg19', 1000, 224, 143_667_240),  # 144 M
    # The convolutions of vgg16 have 14,710,464 weights and 4,224 outputs, here with scale and shift; head 5,130.
    ('vgg16_cifar', 10, 32, 14_724_042),
    ('vit_base', 1000, 224, 86_567_656),  # Dosovitskiy et al., table 1: 86 M
    ('vit_tiny', 10, 32, 5_362_762),
]


@pytest.mark.parametrize(('name', 'classes', 'side', 'count'), COUNTS)
def test_parameters_are_the_published_ones_and_layers_are_as_asked_for(name, classes, side, count):
    network = build_model({'name': name, 'dtype': 'bfloat16', 'norm_groups': 2}, classes)
    images, groups, dtypes = jnp.zeros((2, side, side, 3)), set(), set()

    def record(next_method, args, kwargs, context):
        layer = context.module
        if isinstance(layer, BatchNorm):
            groups.add(layer.groups)
        if isinstance(layer, (*CONVOLUTIONS, *NORMS)) and layer.path not in (('head',), ('norm',)):
            dtypes.add(layer.dtype)
        return next_method(*args, **kwargs)

    with nn.intercept_methods(record):
        logits, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
    assert groups == ({2} if 'batch_stats' in variables else set())
    assert (logits.dtype, dtypes) == (jnp.float32, {jnp.dtype('bfloat16')})
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
    assert count_parameters(variables) == count
    assert sum(row.parameters for row in layer_costs(network, (side, side, 3))) == count
    if 'batch_stats' in variables:  # recalibration gives no random numbers: no network has batch norm and dropout
        jax.eval_shape(lambda v: network.apply(v, images, train=True, mutable='batch_stats'), variables)


def test_every_network_is_counted():
    assert {name for name, *_ in COUNTS} == set(MODELS) - {'dsconv'}


TINY = {
    'alexnet': (AlexNet(3, features=(4, 4, 4, 4, 4), stem=(3, 1, 1), hidden=(64, 8)), 15),
    'convmixer': (ConvMixer(3, patch=2, width=4, layers=1, kernel=3), 6),
    'densenet': (DenseNet(3, growth=2, layers=(2, 1)), 6),
    'mobilenet': (MobileNetV2(3, 0.5, ((1, 8, 1), (2, 8, 2)), (2, 1, 2), norm_groups=2), 9),
    'resnet': (ResNet(3, stages=(1, 1), width=4, shortcut='conv', use_bias=True), 9),
    'bottleneck': (ResNet(3, (1, 1), 4, bottleneck=True, shortcut='conv_norm', large_stem=True, norm_groups=2), 9),
    'vgg': (VGG(3, stages=(1, 2), features=(4, 8), hidden=(16,)), 8),
    'vit': (ViT(3, patch=2, width=8, layers=1, heads=2), 4),
}


@pytest.mark.parametrize('name', TINY)
def test_forward_and_gradient(name):
    """Shapes and dtypes; gradients that are finite, and not all zero in any parameter; training is not evaluation."""
    network, side = TINY[name]
    images = np.random.default_rng(1).normal(size=(4, side, side, 3)).astype(np.float32)
    weights = np.random.default_rng(2).normal(size=(4, network.num_classes)).astype(np.float32)
    variables = drawn_variables(network, (side, side, 3))

    def run(key):
        def weighted(params):
            logits, _ = network.apply(
                variables | {'params': params}, images, train=True, mutable='batch_stats', rngs={'dropout': key}
            )
            return jnp.sum(weights * logits), logits

        (_, trained), gradient = jax.value_and_grad(weighted, has_aux=True)(variables['params'])
        return network.apply(variables, images), trained, gradient

    evaluated, trained, gradient = jax.jit(run)(jax.random.key(0))
    for logits in (evaluated, trained):
        assert (logits.shape, logits.dtype) == ((4, network.num_classes), jnp.float32)
        assert np.all(np.isfinite(logits))
    assert not np.allclose(evaluated, trained)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.all(np.isfinite(leaf)), path
        assert np.any(leaf), path
    any_number = jax.ShapeDtypeStruct((*jax.export.symbolic_shape('batch'), side, side, 3), jnp.float32)
    assert jax.eval_shape(network.apply, variables, any_number).shape == (any_number.shape[0], 3)  # for StableHLO


@pytest.mark.parametrize(
    ('network', 'shape', 'message'),
    [
        (named('alexnet_cifar'), (14, 15), 'images of 14×15 are too small for this network, which needs 15×15 or more'),
        (named('vgg16_cifar'), (31, 32), 'needs 32×32 or more'),
        (ConvMixer(3), (7, 8), 'a dataset.image_size that is a multiple of 2'),
        (named('dsconv'), (8, 7), '8×7 do not divide into the 2×2 patches'),
        (FastDSConv(3), (8, 7), '8×7 do not divide into the 2×2 patches'),
    ],
)
def test_images_that_do_not_fit_are_refused(network, shape, message):
    with pytest.raises(InputError, match=message):
        jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *shape, 3)))


def test_local_response_norm_is_the_formula_of_section_3_3():
    x = 30 * np.random.default_rng(0).normal(size=(2, 2, 2, 7)).astype(np.float32)
    expected = np.empty_like(x)
    for i in range(7):
        neighbours = x[..., max(0, i - 2) : min(6, i + 2) + 1]
        expected[..., i] = x[..., i] / (2 + 1e-4 * (neighbours**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(local_response_norm(x), expected, rtol=1e-5)


def test_the_residual_of_convmixer_is_around_the_depthwise_convolution_alone():
    network, _ = TINY['convmixer']
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    variables, apply = drawn_variables(network, (4, 4, 3)), jax.jit(network.apply)

    def logits_without(layer):
        zeroed = {layer: jax.tree.map(jnp.zeros_like, variables['params'][layer])}
        return apply(variables | {'params': variables['params'] | zeroed}, images)

    assert not np.allclose(*logits_without('depthwise_0'))
    np.testing.assert_allclose(*logits_without('pointwise_0'), atol=1e-6)


def test_features_of_mobilenet_are_rounded_to_eights_and_not_below_nine_tenths():
    assert (rounded(17), rounded(11)) == (16, 16)  # 8 would be less than nine tenths of 11


@pytest.mark.parametrize('shortcut', ['pad', 'conv_norm'])
def test_a_residual_block_is_the_relu_of_shortcut_plus_branch(shortcut):
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)
    block = Block(((4, 3, 2), (4, 3, 1)), shortcut, ConvNorm)
    variables = jax.jit(block.init, static_argnums=2)(jax.random.key(0), x, False)
    kernels = {name: np.asarray(unit['conv']['kernel'], np.float64) for name, unit in variables['params'].items()}
    initial_norm = 1 / np.sqrt(1 + 1e-3)  # mean 0, variance 1, and the epsilon of this project
    y = np.maximum(convolve(x, kernels['conv_1'], stride=2, pads=(1, 1)) * initial_norm, 0)
    y = convolve(y, kernels['conv_2']) * initial_norm
    if shortcut == 'pad':
        y[..., :3] += x[:, ::2, ::2]  # option A: every other place, and zeros for the new channel
    else:
        y += x[:, ::2, ::2] @ kernels['shortcut'].reshape(3, 4) * initial_norm
    np.testing.assert_allclose(block.apply(variables, x, False), np.maximum(y, 0), rtol=1e-4, atol=1e-5)


def max_pool(x, size, stride):
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
    return windows[:, ::stride, ::stride].max((-2, -1))


def test_vgg_and_alexnet_are_relus_poolings_and_dense_layers_in_their_order():
    for name, after in (
        ('vgg', {1: lambda x: max_pool(x, 2, 2), 3: lambda x: max_pool(x, 2, 2)}),
        ('alexnet', {1: responded_and_pooled, 2: responded_and_pooled, 5: lambda x: max_pool(x, 3, 2)}),
    ):
        network, side = TINY[name]
        x = 30 * np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
        variables = drawn_variables(network, (side, side, 3))
        expected, params = x, variables['params']
        convolutions = [layer for name, layer in params.items() if 'conv' in name]
        for number, layer in enumerate(convolutions, 1):
            pads = (1, 1) if len(layer['kernel']) == 3 else (2, 2)
            expected = np.maximum(convolve(expected, layer['kernel'], pads=pads) + layer['bias'], 0)
            expected = after.get(number, lambda x: x)(expected)
        expected = expected.reshape(2, -1)
        for layer in (layer for name, layer in params.items() if 'hidden' in name):
            expected = np.maximum(expected @ layer['kernel'] + layer['bias'], 0)
        expected = expected @ params['head']['kernel'] + params['head']['bias']
        np.testing.assert_allclose(jax.jit(network.apply)(variables, x), expected, rtol=1e-3, atol=1e-2, err_msg=name)


def responded_and_pooled(x):
    return max_pool(np.asarray(local_response_norm(jnp.asarray(x))), 3, 2)


def test_layers_of_densenet_are_norm_relu_convolution_and_blocks_end_in_average_pooling():
    network, x = DenseNet(3, growth=2, layers=(1, 1)), np.random.default_rng(0).normal(size=(2, 4, 6, 3))
    variables = drawn_variables(network, (4, 6, 3))
    params, statistics = variables['params'], variables['batch_stats']

    def activated(x, params, statistics):
        mean, var = (statistics['batch_norm'][name] for name in ('mean', 'var'))
        return np.maximum(normalise(x, params['batch_norm'], mean, var), 0)

    def layer(x, name):
        kernel = params[name]['conv']['kernel']
        return convolve(
            activated(x, params[name], statistics[name]), kernel if kernel.ndim == 4 else kernel[None, None]
        )

    y = convolve(x, params['stem']['kernel'])
    for block in range(2):
        if block:
            y = layer(y, 'transition_1').reshape(2, 2, 2, 3, 2, -1).mean((2, 4))
        new = layer(layer(y, f'block_{block}_layer_0_reduce'), f'block_{block}_layer_0')
        y = np.concatenate([y, new], axis=-1)
    expected = activated(y, params, statistics).mean((1, 2)) @ params['head']['kernel'] + params['head']['bias']
    np.testing.assert_allclose(jax.jit(network.apply)(variables, np.float32(x)), expected, rtol=1e-3, atol=1e-4)


def test_mobilenet_is_linear_at_its_bottlenecks_cut_at_six_elsewhere_and_adds_where_shapes_agree():
    network, _ = TINY['mobilenet']
    images = 50 * np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    apply = jax.jit(functools.partial(network.apply, capture_intermediates=True))
    _, seen = apply(drawn_variables(network, (8, 8, 3)), images)
    seen = seen['intermediates']
    inside = {name: block for name, block in seen.items() if name.startswith('stage')}
    units = {'stem': seen['stem'], 'last': seen['last']}
    units |= {f'{name}/{unit}': block[unit] for name, block in inside.items() for unit in block if unit != '__call__'}
    for name, unit in units.items():
        (y,) = unit['__call__']
        assert y.min() < 0 if 'project' in name else y.min() >= 0 and y.max() <= 6, name
    assert seen['stem']['__call__'][0].max() == 6
    (before,), (after,) = inside['stage_1_block_0']['__call__'], inside['stage_1_block_1']['__call__']
    np.testing.assert_allclose(after, before + inside['stage_1_block_1']['project']['__call__'][0], rtol=1e-5)


def test_a_vision_transformer_reads_the_class_token_after_pre_norm_blocks():
    network, images = TINY['vit'][0], np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    variables = drawn_variables(network, (4, 4, 3))
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables['params'])
    block = params['block_0']

    def dense(x, layer):
        return x @ layer['kernel'] + layer['bias']

    def norm(x, layer):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * layer['scale'] + layer['bias']

    patches = images.reshape(2, 2, 2, 2, 2, 3).swapaxes(2, 3).reshape(2, 4, 12)
    x = patches @ params['stem']['kernel'].reshape(12, 8) + params['stem']['bias']
    x = np.concatenate([np.broadcast_to(params['tokens']['token'], (2, 1, 8)), x], axis=1)
    x = x + params['tokens']['positions']
    queries, keys, values = np.moveaxis(
        dense(norm(x, block['norm_1']), block['queries_keys_values']).reshape(2, 5, 3, 2, 4), 2, 0
    )
    weights = scipy.special.softmax(np.einsum('bqhd,bkhd->bhqk', queries, keys) / 2, axis=-1)
    x = x + dense(np.einsum('bhqk,bkhd->bqhd', weights, values).reshape(2, 5, 8), block['attended'])
    hidden = dense(norm(x, block['norm_2']), block['mlp_1'])
    x = x + dense(hidden * scipy.stats.norm.cdf(hidden), block['mlp_2'])  # GELU
    expected = dense(norm(x, params['norm'])[:, 0], params['head'])
    np.testing.assert_allclose(jax.jit(network.apply)(variables, images), expected, rtol=1e-3, atol=1e-4)


def test_kernels_of_the_zoo_are_initialised_for_relu():
    """He et al. 2015, equation 10: a variance of two by the inputs of an output."""
    key, x = jax.random.key(0), jnp.zeros((1, 4, 4, 16))
    for layer, inputs in ((blocks.Conv(64, (3, 3)), 9 * 16), (blocks.PointwiseConv(256), 16)):
        kernel = layer.init(key, x)['params']['kernel']
        assert np.std(kernel) == pytest.approx(np.sqrt(2 / inputs), rel=0.05)
