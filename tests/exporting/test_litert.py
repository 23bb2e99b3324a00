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
from dsconv.exporting.norm_folding import fold

litert = pytest.importorskip('dsconv.exporting.litert', reason='requirements-export.txt is not installed')


def graph_of(shape, *layers):
    """Returns the graph of `layers`, each (operation, *constants), on an image of a shape, and of a softmax."""
    nodes = [Node('input', [], {}, shape, np.dtype(np.float32))]
    for op, *constants in (*layers, ('softmax',)):
        channels = constants[0].shape[1] if op == 'dense' else nodes[-1].shape[-1]
        nodes.append(Node(op, [nodes[-1], *constants], {}, (*shape[:-1], channels), np.dtype(np.float32)))
    return nodes


def values_of(file, images, find):
    """Returns the values of the tensor of which `find` returns the index in the graph of a file."""
    (graph,) = litert._parsed(file).subgraphs
    name = graph.tensors[find(graph)].name.decode()
    return np.concatenate([values(name) for values in litert._run_each(file, images)])


def int8_logits(file, images):
    return values_of(litert.to_int8(file, images), images, lambda graph: graph.operators[-2].inputs[0])


def test_a_file_of_more_than_256_kB_of_integers_holds_them_all(tmp_path):
    generator = np.random.default_rng(0)
    kernels = [np.float32(generator.normal(0, 0.1, shape)) for shape in ((500, 600), (600, 10))]
    graph = graph_of((1, 500), *(('dense', kernel, np.full(kernel.shape[1], 0.5, np.float32)) for kernel in kernels))
    images, file = generator.integers(0, 256, (9, 500), np.uint8), litert.to_litert(graph)
    logits = (np.float32(images) / 255 @ kernels[0] + 0.5) @ kernels[1] + 0.5
    metadata = {'title': 'a', 'class_names': list('0123456789'), 'image_size': 1, 'channels': 1, 'resize': 'squash'}
    for precision, content in (('uint8', litert.to_int8(file, images)), ('float32', litert.to_float16(file))):
        (tmp_path / 'model.tflite').write_bytes(litert.with_metadata(content, metadata | {'input': precision}))
        answer = open_exported(tmp_path / 'model.tflite').run(images)
        np.testing.assert_allclose(answer, scipy.special.softmax(logits, axis=1), atol=0.05)


def test_what_a_gelu_and_a_layer_read_keeps_values_far_below_zero():
    generator = np.random.default_rng(0)
    kernel, last = np.float32(generator.normal(0, 1, (50, 8))), np.float32(generator.normal(0, 1, (8, 3)))

    def function(x):
        hidden = x @ kernel
        return jax.nn.softmax(hidden @ last + jax.nn.gelu(hidden) @ last)

    images = generator.integers(0, 256, (200, 50), np.uint8)
    file = litert.to_litert(fold(read(function, jax.ShapeDtypeStruct((1, 50), np.float32))))
    model, ranges = litert._parsed(file), litert._ranges(file, images)
    (graph,) = model.subgraphs
    names = [litert.flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex) for operator in graph.operators]
    hidden = graph.operators[names.index('GELU')].inputs[0]
    least = ranges[graph.tensors[hidden].name.decode()]['min'].min()
    assert least < 0.5 * (images / 255 @ kernel).min()


def test_int8_of_a_network_that_weights_places():
    window = np.linspace(0.5, 1, 16, dtype=np.float32).reshape(1, 4, 4, 1)
    kernel = np.float32(np.random.default_rng(0).normal(0, 1, (3, 5)))
    images = np.random.default_rng(1).integers(0, 256, (9, 4, 4, 3), np.uint8)
    file = litert.to_int8(litert.to_litert(graph_of((1, 4, 4, 3), ('mul', window), ('dense', kernel))), images)
    answers = values_of(file, images, lambda graph: graph.outputs[0])
    expected = scipy.special.softmax(images / 255 * window @ kernel, axis=-1)
    np.testing.assert_allclose(answers.reshape(expected.shape), expected, atol=0.05)


def test_biases_of_int8_make_up_for_the_rounding_of_weights(monkeypatch):
    """By the mean logits of NumPy, with a layer without biases, and one whose outputs are 0 before GELU is applied."""
    generator = np.random.default_rng(0)
    shapes = {(400, 30): 0.02, (30, 20): 0.3, (20, 10): 0.3}
    kernels = [np.float32(generator.normal(0, spread, shape)) for shape, spread in shapes.items()]
    kernels[0][0] = 3  # the other weights of a channel are rounded to whole steps of this one
    kernels[0][:, 7] = 0
    biased, plain, last = kernels
    layers = ('dense', biased, np.zeros(30, np.float32)), ('gelu_tanh',), ('dense', plain)
    file = litert.to_litert(graph_of((1, 400), *layers, ('dense', last, np.ones(10, np.float32))))
    images = np.uint8(generator.integers(0, 256, (300, 400)))
    logits = ACTIVATIONS['gelu_tanh'](images / 255 @ biased) @ plain @ last + 1

    def error():
        return np.abs(int8_logits(file, images).mean(0) - logits.mean(0)).mean()

    corrected = error()
    monkeypatch.setattr(litert, '_unbiased', lambda rounded, file, pictures: rounded)
    assert corrected < 0.3 * error()


def test_an_elu_and_a_network_of_a_single_place_are_converted():
    kernel, bias = (np.float32(np.random.default_rng(0).normal(0, 1, shape)) for shape in ((4, 3), 3))
    images = np.random.default_rng(1).integers(0, 256, (9, 1, 1, 4), np.uint8)
    file = litert.to_litert(graph_of((1, 1, 1, 4), ('dense', kernel, bias), ('elu',)))
    expected = jax.nn.softmax(jax.nn.elu(images / 255 @ kernel + bias))
    for content, tolerance in ((file, 1e-6), (litert.to_int8(file, images), 0.03)):
        answers = values_of(content, images, lambda graph: graph.outputs[0])
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
    file = litert.to_litert(graph_of((1, 50), ('dense', kernel), ('relu',), ('mul', factor), ('dense', last)))

    def error():
        return np.abs(int8_logits(file, images) - hidden @ last).mean()

    weighted = error()
    monkeypatch.setattr(litert, '_squared_gains', lambda model: collections.defaultdict(lambda: np.ones(1)))
    assert weighted < 0.3 * error()


@pytest.mark.parametrize('sign', [1, -1])
def test_zero_lies_in_the_range_of_values_of_one_sign(sign):
    low, high = litert._best_range(sign * np.linspace(1, 4, 1000, dtype=np.float32), np.ones(1000))
    assert low <= 0 <= high
    assert max(abs(low), abs(high)) > 3.9
