"""Reads a network from its jaxpr as a graph, a short list of nodes: the input of the exporters.

The nodes are in the order of computation: the first is the input, the last is the output. `read` traces a function,
inlines every call in it, and computes values that depend only on constants. Then `norm_folding` folds norms and inserts
the activations that `activations` recognises. `run` computes the nodes with JAX again.
"""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsconv.errors import InputError
from dsconv.models.fast.depthwise import nhwc


def _biased(x, bias):
    return x if bias is None else x + bias


def _conv(x, kernel, bias=None, *, strides, padding, groups):
    return _biased(nhwc(x, kernel, strides, padding=padding, feature_group_count=groups), bias)


def _dense(x, kernel, bias=None):
    if x.ndim > 2 and x.size == x.shape[-1]:  # LiteRT's converter requires two dimensions for a single row
        return _dense(x.reshape(1, -1), kernel, bias).reshape(*x.shape[:-1], -1)
    return _biased(x @ kernel, bias)


# The first axis is the batch and the last is the channels, as everywhere in dsconv.
OPERATIONS = {
    'conv': _conv,
    'dense': _dense,
    'mul': jnp.multiply,
    'add': jnp.add,
    'mean': lambda x: jnp.mean(x, axis=(1, 2)),
    'avg_pool': lambda x, *, window: nn.avg_pool(x, window['window_dimensions'][1:3], window['window_strides'][1:3]),
    'softmax': jax.nn.softmax,
}
# Elementwise functions for which file formats have an operation.
ACTIVATIONS = {
    'gelu_tanh': lambda x: jax.nn.gelu(x, approximate=True),
    'gelu': lambda x: jax.nn.gelu(x, approximate=False),
    'silu': jax.nn.silu,
    'relu': jax.nn.relu,
    'relu6': jax.nn.relu6,
    'leaky_relu': jax.nn.leaky_relu,
    'elu': lambda x: jnp.maximum(x, jnp.exp(jnp.minimum(x, 0)) - 1),  # without comparisons, which int8 does not support
}
LOOPS = ('scan', 'while')
NUMPY = {
    'add': np.add,
    'sub': np.subtract,
    'mul': np.multiply,
    'div': np.divide,
    'rsqrt': lambda x: 1 / np.sqrt(x),
}


@dataclasses.dataclass(eq=False)
class Node:
    """One computed array.

    Attributes:
      op: a key of `OPERATIONS` or `ACTIVATIONS`, 'input', or the name of `primitive`.
      inputs: nodes and constant arrays, which broadcast to `input_shapes`.
      params: keyword arguments of the operation or the primitive.
      shape: shape of the result for a batch of one.
      dtype: dtype of the result.
      primitive: a JAX primitive, or None for any other `op`.
      input_shapes: the input shapes of the primitive.
    """

    op: str
    inputs: list
    params: dict
    shape: tuple[int, ...]
    dtype: np.dtype
    primitive: object = None
    input_shapes: tuple = ()

    def apply(self, *arguments):
        """Computes the array from the values of `inputs`."""
        if self.primitive is None:
            function = OPERATIONS.get(self.op) or ACTIVATIONS[self.op]
            return function(*arguments, **self.params)
        arguments = [jnp.broadcast_to(x, shape) for x, shape in zip(arguments, self.input_shapes, strict=True)]
        return self.primitive.bind(*arguments, **self.params)


def read(function: Callable, example: jax.ShapeDtypeStruct) -> list[Node]:
    """Returns the graph of a function of one array; the arrays that the function closes over become constants.

    Raises:
      InputError: the function has an operation with several results, a loop, or a `cond` on a computed value.
    """
    closed = jax.make_jaxpr(function)(example)
    graph = [Node('input', [], {}, example.shape, np.dtype(example.dtype))]
    (output,) = _inline(closed.jaxpr, closed.consts, [graph[0]], graph)
    return graph[: graph.index(output) + 1]  # drops later nodes, such as those of `sow`


def run(graph: list[Node], images):
    """Computes the output for a batch of one; traceable by JAX."""
    values = {graph[0]: images}
    for node in graph[1:]:
        values[node] = node.apply(*(values[x] if isinstance(x, Node) else x for x in node.inputs))
    return values[graph[-1]]


def _inline(jaxpr, constants, arguments, graph):
    """Appends the nodes of a jaxpr to the graph; returns its outputs as nodes or constant arrays."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*map(np.asarray, constants), *arguments], strict=True))

    def value(atom):
        return np.asarray(atom.val) if hasattr(atom, 'val') else values[atom]

    for equation in jaxpr.eqns:
        inputs, name, params = list(map(value, equation.invars)), equation.primitive.name, equation.params
        if name == 'platform_index':
            outputs = [np.int32(len(params['platforms']) - 1)]  # the default branch, for any platform
        elif name == 'cond':
            if isinstance(inputs[0], Node):
                raise InputError('cond on a value that the network computes cannot be exported')
            branch = params['branches'][int(inputs[0])]
            outputs = _inline(branch.jaxpr, branch.consts, inputs[1:], graph)
        elif name == 'unstack':  # a primitive of JAX 0.12, replaced by slices
            parts = jax.make_jaxpr(functools.partial(_unstack, axis=params['axis']))(equation.invars[0].aval)
            outputs = _inline(parts.jaxpr, parts.consts, inputs, graph)
        elif name not in LOOPS and (inner := params.get('jaxpr') or params.get('call_jaxpr')):
            outputs = _inline(getattr(inner, 'jaxpr', inner), getattr(inner, 'consts', ()), inputs, graph)
        else:
            outputs = [_apply(equation, inputs, graph)]
        values |= zip(equation.outvars, outputs, strict=True)
    return list(map(value, jaxpr.outvars))


def _unstack(x, axis):
    return [lax.squeeze(lax.slice_in_dim(x, i, i + 1, axis=axis), (axis,)) for i in range(x.shape[axis])]


def _apply(equation, inputs, graph):
    if len(equation.outvars) != 1 or equation.primitive.name in LOOPS:
        raise InputError(f'{equation.primitive.name}, an operation of this network, cannot be exported')
    primitive, params, (out,) = equation.primitive, equation.params, equation.outvars
    shapes = tuple(atom.aval.shape for atom in equation.invars)
    if primitive.name in ('copy', 'copy_p', 'stop_gradient', 'optimization_barrier'):
        return inputs[0]
    if primitive.name == 'slice' and shapes[0] == out.aval.shape:  # the slice is the whole array
        return inputs[0]
    if primitive.name == 'convert_element_type' and inputs[0].dtype == out.aval.dtype:
        return inputs[0]
    if any(isinstance(x, Node) for x in inputs):
        node = Node(primitive.name, inputs, params, out.aval.shape, np.dtype(out.aval.dtype), primitive, shapes)
        graph.append(node)
        return node
    if primitive.name == 'broadcast_in_dim':  # kept small: its users broadcast it
        if not inputs[0].ndim:
            return inputs[0]
        return np.expand_dims(inputs[0], sorted(set(range(out.aval.ndim)) - set(params['broadcast_dimensions'])))
    arrays = list(map(np.broadcast_to, inputs, shapes))
    if primitive.name in NUMPY and arrays[0].dtype.kind == 'f':  # JAX would compile for each shape
        return NUMPY[primitive.name](*arrays)
    if primitive.name == 'reshape':
        return arrays[0].reshape(params['new_sizes'])
    return np.asarray(primitive.bind(*arrays, **params))
