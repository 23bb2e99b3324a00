"""Small networks, read, folded and run again, against the network itself; and as ONNX by onnxruntime."""

import functools
import operator

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsconv.errors import InputError
from dsconv.exporting.graph import ACTIVATIONS, read, run
from dsconv.exporting.norm_folding import fold
from dsconv.models import DSConv
from dsconv.models import layers as network_layers
from dsconv.models.fast.convolutions import subsample
from dsconv.models.fast.depthwise import nhwc
from dsconv.models.zoo.resnet import ResNet
from tests.models.test_zoo import TINY

# Name → (network, side of its images).
NETWORKS = TINY | {
    'padded resnet': (ResNet(3, stages=(1, 1), width=4), 8),
    'dsconv': (DSConv(10, dim=8, depth=2), 8),
    'relu': (DSConv(10, dim=8, depth=2, activation='relu'), 8),
    'layer norm': (DSConv(10, dim=8, depth=1, norm='layer'), 8),
}


def trained(name, signs):
    """Returns uint8 images → logits of a network whose every norm and bias does something; its scales have `signs`."""
    (network, side), generator = NETWORKS[name], np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, side, side, 3)))

    def draw(path, leaf):
        kind, shape = path[-1].key, leaf.shape
        if kind == 'kernel':
            return np.float32(generator.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape))
        if kind in ('scale', 'var'):
            return np.float32(generator.uniform(0.3, 1, shape) * generator.choice(signs, shape) ** (kind == 'scale'))
        return np.float32(generator.normal(0, 0.2, shape))

    variables = jax.tree_util.tree_map_with_path(draw, shapes)
    mean = np.float32([0.5, 0.4, 0.3])
    return lambda images: network.apply(variables, (jnp.float32(images) / 255 - mean) / 0.25)


def folded(function, shape, dtype=jnp.float32):
    return fold(read(function, jax.ShapeDtypeStruct(shape, dtype)))


def by_onnx(graph, images):
    """Returns the answers of onnxruntime to a batch of images."""
    runtime = pytest.importorskip('onnxruntime', reason='requirements-export.txt is not installed')
    from dsconv.exporting.onnx_file import to_onnx

    session = runtime.InferenceSession(to_onnx(graph, {}), providers=['CPUExecutionProvider'])
    return session.run(None, {'image': images})[0]


@pytest.mark.parametrize('name, signs', [*((name, (-1, 1)) for name in NETWORKS), ('relu', (1,))])
def test_a_folded_network_answers_as_the_network_does(name, signs):
    function, side = trained(name, signs), NETWORKS[name][1]
    images = np.random.default_rng(1).integers(0, 256, (3, side, side, 3), np.uint8)
    graph = folded(function, (1, side, side, 3), jnp.uint8)
    expected = np.asarray(jax.jit(function)(images))
    assert expected.std(0).max() > 0.01  # it tells the pictures apart
    one = jax.jit(functools.partial(run, graph))(images[:1])
    np.testing.assert_allclose(one, expected[:1], atol=3e-5)
    np.testing.assert_allclose(by_onnx(graph, images), expected, atol=3e-5)


# A stem; in each of two blocks three dense layers, a depthwise one and the norm before it, two sums; a head. Weights
# take the scale of a norm past a ReLU, if it is above zero: what remains of the norm is an addition.
WITH_GELU = {'conv': 1 + 2 * 2, 'dense': 2 * 3 + 1, 'gelu_tanh': 1 + 2 * 4, 'add': 2 * 2, 'mul': 2}
WITH_RELU = {'conv': 1 + 2, 'dense': 2 * 3 + 1, 'relu': 1 + 2 * 4, 'add': 2 * 2 + 2}


@pytest.mark.parametrize('name, signs, expected', [('dsconv', (-1, 1), WITH_GELU), ('relu', (1,), WITH_RELU)])
def test_norms_fold_away(name, signs, expected):
    operations = [node.op for node in folded(trained(name, signs), (1, 8, 8, 3), jnp.uint8)]
    others = ['input', 'convert_element_type', 'mean']
    assert sorted(operations) == sorted([*others, *(name for name in expected for _ in range(expected[name]))])


@pytest.mark.parametrize('least, products', [(0.5, 1), (0.1, 2)])
def test_a_sum_is_not_computed_in_units_that_lie_far_apart(least, products):
    scale, kernel = np.linspace(least, 1, 4, dtype=np.float32), np.eye(4, dtype=np.float32)
    graph = folded(lambda x: (nn.gelu(x) * scale + nn.relu(x) * scale[::-1]) @ kernel, (1, 4))
    assert [node.op for node in graph].count('mul') == products


def test_slices_may_take_every_second_channel_or_all():
    scale, kernel = np.linspace(1, 2, 8, dtype=np.float32), np.ones((4, 3), np.float32)

    def function(x):
        return jax.lax.slice(jax.lax.slice(nn.relu(x) * scale, (0, 0), (1, 8)), (0, 0), (1, 8), (1, 2)) @ kernel

    graph = folded(function, (1, 8))
    assert [node.op for node in graph].count('slice') == 1
    images = np.arange(8, dtype=np.float32)[None]
    np.testing.assert_allclose(run(graph, images), function(images), rtol=1e-6)


def test_a_loop_or_a_branch_is_refused():
    for loop in (
        lambda x: jax.lax.scan(lambda sum, _: (2 * sum, None), x, length=3)[0],
        lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 9, lambda x: 2 * x, x),
        lambda x: jax.lax.cond(x[0, 0] < 9, lambda: x, lambda: 2 * x),
    ):
        with pytest.raises(InputError, match='cannot be exported'):
            read(loop, jax.ShapeDtypeStruct((1, 8), jnp.float32))


@pytest.mark.parametrize('name', network_layers.ACTIVATIONS)
def test_activations_are_recognised(name):
    graph = folded(network_layers.ACTIVATIONS[name], (1, 4))
    expected = {'gelu': 'gelu_tanh', 'gelu_exact': 'gelu'}.get(name, name)
    assert [node.op for node in graph] == ['input', expected]
    images = np.linspace(-4, 4, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_allclose(by_onnx(graph, images), network_layers.ACTIVATIONS[name](images), atol=1e-5)


def weights(*shape):
    return np.float32(np.random.default_rng(1).normal(0, 1, shape))


def used_twice(x, activation=lambda x: x):
    once = activation(x @ weights(2, 4, 4)[0]) * SCALE
    twice = once * SCALE[::-1]
    return nn.gelu(once + nn.gelu(x @ weights(2, 4, 4)[1])) + nn.gelu(twice)


def negative_and_read_twice(x):
    once = nn.relu(x @ weights(4, 4)) * SIGNED
    return nn.gelu(once * SIGNED) + nn.gelu(once)


def used_after_the_sum(shifted, x):
    kernels, ones = weights(3, 4, 4), np.ones(4, np.float32)
    layer = x @ kernels[0]
    scaled = nn.gelu(layer @ kernels[1]) * SCALE
    return nn.gelu(scaled + shifted(layer, ones)) + nn.gelu(shifted(layer, ones) @ kernels[2])


def needed_whole(x):
    y = nhwc(x, weights(1, 1, 3, 4), padding='VALID')
    return nn.gelu(subsample(y, 2)).mean((1, 2)) + nn.relu(y).mean((1, 2))


# Name → (function, shape of its images, their standard deviation).
UNUSUAL = {
    'a cap': (lambda x: jnp.clip(x, 0, 20), (1, 6), 3000),
    'a far cap': (lambda x: jnp.clip(x, 0, 255), (1, 6), 3000),
    'a floor': (lambda x: 0 * x / jnp.maximum((0 * x).max(1, keepdims=True), 1e-6), (1, 6), 3000),
    'a map of one channel': (lambda x: nn.gelu((x * CHANNELS + CHANNELS) @ KERNEL), (1, 4, 4, 1), 3000),
    'pooled tokens': (lambda x: nn.avg_pool(x, (2,), (2,)).mean(1), (1, 6, 4), 3000),
    'integers': (lambda x: x * (jnp.arange(4) // 2), (1, 4), 3000),
    'an unused value': (lambda x: (x @ CHANNELS[:, None], x.max())[0], (1, 3), 3000),
    'a scaled layer used twice': (used_twice, (20, 4), 1),
    'a scaled relu used twice': (functools.partial(used_twice, activation=nn.relu), (20, 4), 1),
    'a negative scale behind a relu, read twice': (negative_and_read_twice, (20, 4), 1),
    'several outputs per channel': (
        lambda x: nhwc(nn.relu(x) * SCALE, weights(3, 3, 1, 8), padding='SAME', feature_group_count=4),
        (1, 5, 5, 4),
        1,
    ),
    'a layer shifted for a sum, used later': (functools.partial(used_after_the_sum, operator.add), (20, 4), 1),
    'a layer scaled for a sum, used later': (functools.partial(used_after_the_sum, operator.mul), (20, 4), 1),
    'a convolution that something else needs whole': (needed_whole, (1, 4, 4, 3), 1),
}
CHANNELS, KERNEL = np.float32([1, 2, 3]), np.float32([[1, 2], [3, 4], [-5, 6]])
SCALE, SIGNED = np.float32([1, 2, 3, 4]), np.float32([-1, 2, 3, 4])


@pytest.mark.parametrize('name', UNUSUAL)
def test_what_is_unusual_is_computed_all_the_same(name):
    function, shape, spread = UNUSUAL[name]
    images = np.float32(np.random.default_rng(0).normal(0, spread, shape))
    graph, rtol = folded(function, (1, *shape[1:])), 1e-4 if spread == 1 else 1e-5
    np.testing.assert_allclose([run(graph, row[None])[0] for row in images], function(images), rtol=rtol, atol=1e-5)


@pytest.mark.parametrize('function', [jax.nn.mish, jax.nn.soft_sign, jax.nn.squareplus])
def test_an_activation_that_is_added_is_recognised(function, monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, 'mine', function)
    assert [node.op for node in folded(function, (1, 4))] == ['input', 'mine']


def with_coordinates(x):
    rows = np.linspace(-1, 1, 4, dtype=np.float32)[None, :, None, None]
    images, places = nhwc(x, weights(3, 3, 3, 5), padding='SAME'), jnp.broadcast_to(rows, (len(x), 4, 4, 1))
    return nn.relu(jnp.concatenate([images, places], -1)).mean((1, 2)) @ weights(6, 2)


@pytest.mark.parametrize(
    'function, shape',
    [
        # As of attention.
        (lambda x: jnp.einsum('btc,chd->bthd', x, CHANNELS[:, None, None] * KERNEL).sum((1, 2)), (5, 3)),
        (lambda x: (x.reshape(-1, 3) @ KERNEL).reshape(len(x), -1), (5, 3)),
        (lambda x: jnp.repeat(x.mean(1), 4, axis=-1), (5, 3)),  # as of group norm
        (with_coordinates, (4, 4, 3)),  # concatenated behind a convolution
    ],
)
def test_onnx_takes_any_batch(function, shape):
    images = np.float32(np.random.default_rng(0).normal(0, 1, (4, *shape)))
    np.testing.assert_allclose(by_onnx(folded(function, (1, *shape)), images), function(images), atol=1e-4)


def test_onnx_refuses_other_numbers_than_float32():
    with pytest.raises(InputError, match='ONNX cannot be written for bfloat16'):
        by_onnx(folded(lambda x: x.astype(jnp.bfloat16).astype(jnp.float32), (1, 4)), np.zeros((1, 4), np.float32))
