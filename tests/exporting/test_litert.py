"""LiteRT files, of graphs that are made here: what rounding to 8-bit integers does."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from dsconv.errors import InputError
from dsconv.exported import open_exported
from dsconv.exporting.graph import ACTIVATIONS, Node, read

litert = pytest.importorskip('dsconv.exporting.litert', reason='requirements-export.txt is not installed')


def test_a_file_of_more_than_256_kB_of_integers_holds_them_all(tmp_path):
    generator = np.random.default_rng(0)
    kernels = [np.float32(generator.normal(0, 0.1, shape)) for shape in ((500, 600), (600, 10))]
    nodes = [Node('input', [], {}, (1, 500), np.dtype(np.float32))]
    for kernel in kernels:
        inputs = [nodes[-1], kernel, np.full(kernel.shape[1], 0.5, np.float32)]
        nodes.append(Node('dense', inputs, {}, (1, kernel.shape[1]), np.dtype(np.float32)))
    nodes.append(Node('softmax', [nodes[-1]], {}, (1, 10), np.dtype(np.float32)))
    images, file = generator.integers(0, 256, (9, 500), np.uint8), litert.to_litert(nodes)
    logits = (np.float32(images) / 255 @ kernels[0] + 0.5) @ kernels[1] + 0.5
    metadata = {'title': 'a', 'class_names': list('0123456789'), 'image_size': 1, 'channels': 1, 'resize': 'squash'}
    for precision, content in (('uint8', litert.to_int8(file, images)), ('float32', litert.to_float16(file))):
        (tmp_path / 'model.tflite').write_bytes(litert.with_metadata(content, metadata | {'input': precision}))
        answer = open_exported(tmp_path / 'model.tflite').run(images)
        np.testing.assert_allclose(answer, scipy.special.softmax(logits, axis=1), atol=0.05)


def test_biases_of_int8_make_up_for_the_rounding_of_weights(monkeypatch):
    """By the mean logits of NumPy, with a layer without biases, and one whose outputs are 0 before GELU is applied."""
    generator = np.random.default_rng(0)
    shapes = {(400, 30): 0.02, (30, 20): 0.3, (20, 10): 0.3}
    kernels = [np.float32(generator.normal(0, spread, shape)) for shape, spread in shapes.items()]
    kernels[0][0] = 3  # the other weights of a channel are rounded to whole steps of this one
    kernels[0][:, 7] = 0
    biases = [np.zeros(30, np.float32), None, np.ones(10, np.float32)]
    nodes, values = [Node('input', [], {}, (1, 400), np.dtype(np.float32))], generator.integers(0, 256, (300, 400))
    images, values = np.uint8(values), values / 255
    for kernel, bias, activation in zip(kernels, biases, ('gelu_tanh', None, None), strict=True):
        shape, inputs = (1, kernel.shape[1]), [nodes[-1], kernel, *([] if bias is None else [bias])]
        nodes.append(Node('dense', inputs, {}, shape, np.dtype(np.float32)))
        values = values @ kernel + (0 if bias is None else bias)
        if activation:
            nodes.append(Node(activation, [nodes[-1]], {}, shape, np.dtype(np.float32)))
            values = ACTIVATIONS['gelu_tanh'](values)
    file = litert.to_litert([*nodes, Node('softmax', [nodes[-1]], {}, (1, 10), np.dtype(np.float32))])

    def error():
        rounded = litert.to_int8(file, images)
        (graph,) = litert._parsed(rounded).subgraphs
        name = graph.tensors[graph.operators[-2].inputs[0]].name.decode()  # the logits, before the softmax
        return np.abs(litert._means(litert._run_each(rounded, images), {name: (-9, 9)})[name] - values.mean(0)).mean()

    corrected = error()
    monkeypatch.setattr(litert, '_unbiased', lambda rounded, file, pictures: rounded)
    assert corrected < 0.3 * error()


def test_an_elu_and_a_network_of_a_single_place_are_converted():
    kernel, bias = (np.float32(np.random.default_rng(0).normal(0, 1, shape)) for shape in ((4, 3), 3))
    images = np.random.default_rng(1).integers(0, 256, (9, 1, 1, 4), np.uint8)
    graph = [Node('input', [], {}, (1, 1, 1, 4), np.dtype(np.float32))]
    for op, constants in (('dense', [kernel, bias]), ('elu', []), ('softmax', [])):
        graph.append(Node(op, [graph[-1], *constants], {}, (1, 1, 1, 3), np.dtype(np.float32)))
    file = litert.to_litert(graph)
    expected = jax.nn.softmax(jax.nn.elu(images / 255 @ kernel + bias))
    for content, tolerance in ((file, 1e-6), (litert.to_int8(file, images), 0.03)):
        (model,) = litert._parsed(content).subgraphs
        name = model.tensors[model.outputs[0]].name.decode()
        answers = np.concatenate([values(name) for values in litert._run_each(content, images)])
        np.testing.assert_allclose(answers.reshape(9, 3), expected.reshape(9, 3), atol=tolerance)


def test_a_network_that_compares_numbers_is_refused_in_int8():
    graph = read(lambda x: jnp.where(x > 0.3, x, x * x), jax.ShapeDtypeStruct((1, 4), np.float32))
    with pytest.raises(InputError, match='leave int8 out'):
        litert.to_int8(litert.to_litert(graph), np.zeros((1, 4), np.uint8))


def test_the_range_of_int8_leaves_outliers_out():
    values = np.concatenate([np.random.default_rng(0).normal(0, 2, 10_000), [40.0]])
    equal = np.ones(len(values))
    low, high = litert._best_range(values, equal)
    assert -9 < low < -4 and 5 < high < 40
    assert -3.5 < litert._best_range(values, equal, ACTIVATIONS['gelu_tanh'])[0] < 0
    assert -6 < litert._best_range(values, equal, ACTIVATIONS['silu'])[0] < -3.5


def test_the_range_of_int8_serves_the_channels_that_later_layers_multiply(monkeypatch):
    """By the logits of NumPy; the first of four channels is a hundred times as large and adds a thousandth as much."""
    generator = np.random.default_rng(0)
    kernel, last = (np.float32(generator.normal(0, 0.3, shape)) for shape in ((50, 4), (4, 3)))
    kernel[:, 0] *= 100
    factor = np.float32([1e-5, 1, 1, 1])
    images = generator.integers(0, 256, (200, 50), np.uint8)
    hidden = np.maximum(images / 255 @ kernel, 0) * factor
    nodes = [Node('input', [], {}, (1, 50), np.dtype(np.float32))]
    layers = ('dense', [kernel], 4), ('relu', [], 4), ('mul', [factor], 4), ('dense', [last], 3)
    for op, constants, channels in layers:
        nodes.append(Node(op, [nodes[-1], *constants], {}, (1, channels), np.dtype(np.float32)))
    file = litert.to_litert([*nodes, Node('softmax', [nodes[-1]], {}, (1, 3), np.dtype(np.float32))])

    def error():
        rounded = litert.to_int8(file, images)
        (graph,) = litert._parsed(rounded).subgraphs
        name = graph.tensors[graph.operators[-2].inputs[0]].name.decode()
        logits = np.concatenate([values(name) for values in litert._run_each(rounded, images)])
        return np.abs(logits - hidden @ last).mean()

    weighted = error()
    monkeypatch.setattr(litert, '_squared_gains', lambda model: collections.defaultdict(lambda: np.ones(1)))
    assert weighted < 0.3 * error()


@pytest.mark.parametrize('sign', [1, -1])
def test_zero_lies_in_the_range_of_values_of_one_sign(sign):
    low, high = litert._best_range(sign * np.linspace(1, 4, 1000, dtype=np.float32), np.ones(1000))
    assert low <= 0 <= high
    assert max(abs(low), abs(high)) > 3.9
