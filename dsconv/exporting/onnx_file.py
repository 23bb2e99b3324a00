"""Writes a graph of `dsconv.exporting.graph` as ONNX, with only the `onnx` package."""

import functools
import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dsconv.errors import InputError
from dsconv.exported import METADATA, metadata_text, sealed
from dsconv.exporting.graph import Node

OPSET = 20  # the first with Gelu
IR_VERSION = 10
TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.uint8): TensorProto.UINT8}
SAME_NAME = ('abs', 'add', 'div', 'erf', 'exp', 'log', 'max', 'min', 'mul', 'neg', 'pow', 'sqrt', 'sub', 'tanh')
SAME_NAME = {name: name.capitalize() for name in SAME_NAME} | {'logistic': 'Sigmoid', 'relu': 'Relu', 'elu': 'Elu'}
# Name → function of (`_Writer.emit`, name of an array, parameters of the node) → name of the result in the same layout.
ELEMENTWISE = {
    'gelu_tanh': lambda emit, x, _: emit('Gelu', [x], approximate='tanh'),
    'gelu': lambda emit, x, _: emit('Gelu', [x]),
    'leaky_relu': lambda emit, x, _: emit('LeakyRelu', [x], alpha=0.01),
    'relu6': lambda emit, x, _: emit('Clip', [x, np.float32(0), np.float32(6)]),
    'silu': lambda emit, x, _: emit('Mul', [x, emit('Sigmoid', [x])]),
    'square': lambda emit, x, _: emit('Mul', [x, x]),
    'rsqrt': lambda emit, x, _: emit('Reciprocal', [emit('Sqrt', [x])]),
    'integer_pow': lambda emit, x, params: emit('Pow', [x, np.float32(params['y'])]),
}
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def to_onnx(graph: list[Node], metadata: dict) -> bytes:
    """Returns the ONNX file of a graph: images `(batch, height, width, channels)`, any batch size → probabilities.

    Raises:
      InputError: a node has an operation or a dtype that is not supported here.
    """
    writer = _Writer(graph)
    first, last = graph[0], graph[-1]
    image = helper.make_tensor_value_info('image', TYPES[first.dtype], ['batch', *first.shape[1:]])
    answer = helper.make_tensor_value_info('probabilities', TensorProto.FLOAT, ['batch', *last.shape[1:]])
    writer.nodes[-1].output[0] = 'probabilities'
    body = helper.make_graph(writer.nodes, 'dsconv', [image], [answer], writer.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR_VERSION)
    model.producer_name = 'dsconv'
    helper.set_model_props(model, {METADATA: metadata_text(metadata)})
    onnx.checker.check_model(model, full_check=True)
    return sealed(model.SerializeToString())


class _Writer:
    """Keeps arrays with four axes as NCHW, as convolutions require, and transposes them for nodes that require NHWC."""

    def __init__(self, graph):
        self.nodes, self.constants, self.names = [], [], {}
        self.names[graph[0], 'NHWC'] = 'image'
        for node in graph[1:]:
            name, layout = self.write(node)
            self.names[node, layout] = name

    def emit(self, op, inputs, **attributes):
        name = f'{op.lower()}_{len(self.nodes)}'
        inputs = [x if isinstance(x, str) else self.constant(np.asarray(x)) for x in inputs]
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def constant(self, array):
        name = f'constant_{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def get(self, x, layout='NHWC'):
        """Returns the name of an array, or a constant, in a layout; layouts differ only for arrays with four axes."""
        if not isinstance(x, Node):
            return x.transpose(TO_NCHW) if layout == 'NCHW' and x.ndim == 4 else x
        if len(x.shape) != 4:
            layout = 'NHWC'
        if (x, layout) not in self.names:
            other = self.names[x, 'NHWC' if layout == 'NCHW' else 'NCHW']
            perm = TO_NCHW if layout == 'NCHW' else TO_NHWC
            self.names[x, layout] = self.emit('Transpose', [other], perm=perm)
        return self.names[x, layout]

    def layout(self, *arrays):
        """Returns the layout for an elementwise operation: NCHW if any of the arrays has it."""
        return 'NCHW' if any((x, 'NCHW') in self.names for x in arrays if isinstance(x, Node)) else 'NHWC'

    def write(self, node):
        """Writes a node; returns its name and layout."""
        op, inputs = node.op, node.inputs
        rule = getattr(self, f'_{op}', None)
        if rule:
            return rule(node, *inputs)
        layout = self.layout(*inputs)
        if op in ELEMENTWISE:
            return ELEMENTWISE[op](self.emit, self.get(inputs[0], layout), node.params), layout
        if op in SAME_NAME:
            return self.emit(SAME_NAME[op], [self._aligned(y, node, layout) for y in inputs]), layout
        raise InputError(f'ONNX cannot be written for {op}, which this network uses: leave onnx and web out')

    def _aligned(self, x, node, layout):
        """Returns an operand; per-channel constants become `(1, channels, 1, 1)` if the layout is NCHW."""
        if isinstance(x, np.ndarray) and x.ndim and len(node.shape) == 4:
            x = x.reshape((1,) * (4 - x.ndim) + x.shape)
        return self.get(x, layout)

    def _convert_element_type(self, node, x):
        if node.dtype not in TYPES:
            raise InputError(f'ONNX cannot be written for {node.dtype}, which this network uses')
        return self.emit('Cast', [self.get(x)], to=TYPES[node.dtype]), 'NHWC'

    def _conv(self, node, x, kernel, *bias):
        kernel = kernel.transpose(3, 2, 0, 1)
        (top, bottom), (left, right) = node.params['padding']
        inputs = [self.get(x, 'NCHW'), kernel, *bias]
        attributes = dict(strides=node.params['strides'], pads=(top, left, bottom, right), group=node.params['groups'])
        return self.emit('Conv', inputs, kernel_shape=kernel.shape[2:], **attributes), 'NCHW'

    def _dense(self, node, x, kernel, *bias):
        if len(x.shape) == 4:
            kernel = kernel.T[:, :, None, None]
            return self.emit('Conv', [self.get(x, 'NCHW'), kernel, *bias], kernel_shape=(1, 1)), 'NCHW'
        if len(x.shape) == 2:
            return self.emit('Gemm', [self.get(x), kernel, *bias]), 'NHWC'
        product = self.emit('MatMul', [self.get(x), kernel])
        return (self.emit('Add', [product, *bias]) if bias else product), 'NHWC'

    def _mean(self, node, x):
        pooled = self.emit('GlobalAveragePool', [self.get(x, 'NCHW')])
        return self.emit('Flatten', [pooled]), 'NHWC'

    def _softmax(self, node, x):
        return self.emit('Softmax', [self.get(x)], axis=-1), 'NHWC'

    def _avg_pool(self, node, x):
        return self._pool('AveragePool', node, x, node.params['window'], ((0, 0),) * 4)

    def _reduce_window_max(self, node, x):
        return self._pool('MaxPool', node, x, node.params, node.params['padding'])

    def _pool(self, op, node, x, window, padding):
        (top, bottom), (left, right) = padding[1:3]
        attributes = dict(
            kernel_shape=window['window_dimensions'][1:3],
            strides=window['window_strides'][1:3],
            pads=(top, left, bottom, right),
        )
        return self.emit(op, [self.get(x, 'NCHW')], **attributes), 'NCHW'

    def _dot_general(self, node, x, y):  # with Einsum, an attention block takes 1.3 times as long in onnxruntime 1.32
        (of_x, of_y), (batch_x, batch_y) = node.params['dimension_numbers']
        product = self.emit('MatMul', [self._matrices(x, batch_x, of_x, True), self._matrices(y, batch_y, of_y, False)])
        return self.emit('Reshape', [product, np.int64(_any_batch(node.shape))]), 'NHWC'

    def _matrices(self, x, batch, contracted, is_left):
        free = [axis for axis in range(len(x.shape)) if axis not in (*contracted, *batch)]
        rows, columns = (free, contracted) if is_left else (contracted, free)
        transposed = self.emit('Transpose', [self.get(x)], perm=(*batch, *rows, *columns))
        shape = [math.prod(x.shape[axis] for axis in axes) for axes in (*([axis] for axis in batch), rows, columns)]
        return self.emit('Reshape', [transposed, np.int64(_any_batch(shape))])

    def _reshape(self, node, x):
        return self.emit('Reshape', [self.get(x), np.int64(_any_batch(node.shape))]), 'NHWC'

    def _transpose(self, node, x):
        return self.emit('Transpose', [self.get(x)], perm=node.params['permutation']), 'NHWC'

    def _squeeze(self, node, x):
        return self.emit('Squeeze', [self.get(x), np.int64(node.params['dimensions'])]), 'NHWC'

    def _broadcast_in_dim(self, node, x):
        kept = dict(zip(node.params['broadcast_dimensions'], x.shape, strict=True))
        new = [axis for axis in range(len(node.shape)) if axis not in kept]
        name = self.emit('Unsqueeze', [self.get(x), np.int64(new)])
        if any(kept.get(axis, 1) != size for axis, size in enumerate(node.shape)):
            name = self.emit('Expand', [name, np.int64(node.shape)])  # a leading 1 keeps the batch size
        return name, 'NHWC'

    def _slice(self, node, x):
        layout, params = self.layout(x), node.params
        bounds = params['start_indices'], params['limit_indices'], params['strides'] or (1,) * len(x.shape)
        axes = [axis for axis, size in enumerate(x.shape) if node.shape[axis] != size]  # not the batch axis
        starts, limits, strides = ([each[axis] for axis in axes] for each in bounds)
        places = [_order(x, layout).index(axis) for axis in axes]
        return self.emit('Slice', [self.get(x, layout), *map(np.int64, (starts, limits, places, strides))]), layout

    def _pad(self, node, x, value):
        layout = self.layout(x)
        low, high, _ = zip(*(node.params['padding_config'][axis] for axis in _order(x, layout)), strict=True)
        return self.emit('Pad', [self.get(x, layout), np.int64([*low, *high]), np.float32(value)]), layout

    def _concatenate(self, node, *arrays):
        layout, parts = self.layout(*arrays), []
        first = next(x for x in arrays if isinstance(x, Node))
        for x, shape in zip(arrays, node.input_shapes, strict=True):
            if isinstance(x, Node):
                parts.append(self.get(x, layout))
            else:  # repeated for each picture of the batch
                batch = self.emit('Shape', [self.get(first)], start=0, end=1)
                sides = np.int64([shape[axis] for axis in _order(node, layout)[1:]])
                shape = self.emit('Concat', [batch, sides], axis=0)
                parts.append(self.emit('Expand', [self._aligned(np.float32(x), node, layout), shape]))
        axis = _order(node, layout).index(node.params['dimension'])
        return self.emit('Concat', parts, axis=axis), layout

    def _reduce(self, op, node, x):
        return self.emit(op, [self.get(x), np.int64(node.params['axes'])], keepdims=0), 'NHWC'

    _reduce_sum = functools.partialmethod(_reduce, 'ReduceSum')
    _reduce_max = functools.partialmethod(_reduce, 'ReduceMax')


def _order(array, layout):
    """Returns the axes of an array in the order of a layout."""
    return TO_NCHW if layout == 'NCHW' and len(array.shape) == 4 else tuple(range(len(array.shape)))


def _any_batch(shape):
    """Returns a shape for ONNX's Reshape that infers the first axis: the batch, or the batch merged with other axes."""
    return [-1, *shape[1:]]
