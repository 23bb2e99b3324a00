"""Folds norms into the layers around them, in a graph of `dsconv.exporting.graph`.

Per-channel scales and shifts are deferred: they are kept with the array (`Pending`) until the next layer, or the layer
before, takes them into its weights. If neither can, they become a node. Thus batch norm after an activation is folded
into the next dense layer, and the shift of a norm on a residual path into the layers that read it. A convolution with
zero padding takes no shift, because the padding is zero after the shift, not before it.
"""

import dataclasses
import math
from collections import Counter

import numpy as np

from dsconv.exporting.activations import find_activations
from dsconv.exporting.graph import Node

LAYERS = ('conv', 'dense')
OF_SCALE = ('relu', 'leaky_relu')  # f(s·x) = s·f(x) for s > 0
ONE = np.float64(1)


@dataclasses.dataclass(frozen=True)
class Pending:
    """`node · scale + shift`, of which only `node` is computed.

    Attributes:
      node: a node of the new graph.
      scale: float64, `(channels,)` or a scalar.
      shift: like `scale`, or None for 0.
      sole: whether the node is a layer without other users, which may take scale and shift into its weights.
      layer: the layer before, if the node is its (leaky) ReLU and neither has other users; may take a positive scale.
    """

    node: Node
    scale: np.ndarray = ONE
    shift: np.ndarray | None = None
    sole: bool = False
    layer: Node | None = None


def fold(graph: list[Node]) -> list[Node]:
    """Returns a graph with fewer nodes that computes the same result, except for rounding."""
    return _Folding(graph).graph


class _Folding:
    def __init__(self, graph):
        activations = find_activations(graph)
        self.users = Counter([graph[-1]])  # node → number of users, for all nodes that the output needs
        for node in reversed(graph):
            if node in self.users:
                inputs = [activations[node][1]] if node in activations else node.inputs
                self.users.update({x for x in inputs if isinstance(x, Node)})
        first = graph[0]
        self.graph, self.consumed = [first], set()
        self.pending = {first: Pending(first)}
        for node in graph[1:]:
            if node not in self.users:
                continue
            if node in activations:
                name, source = activations[node]
                is_alone = name in OF_SCALE and self.pending[source].sole and self.users[source] == 1
                layer = self.computed(source)
                self.pending[node] = Pending(self.emit(name, [layer], node.shape), layer=layer if is_alone else None)
            else:
                rule = getattr(self, f'_{node.op}', None)
                self.pending[node] = (rule and rule(node, *node.inputs)) or Pending(self._generic(node))
        self.computed(graph[-1])

    def emit(self, op, inputs, shape, **params):
        return self._append(Node(op, inputs, params, shape, np.dtype(np.float32)))

    def _append(self, node):
        self.consumed.update(x for x in node.inputs if isinstance(x, Node))
        self.graph.append(node)
        return node

    def computed(self, old) -> Node:
        """Returns the new node of `old` with scale and shift applied, in the weights of a layer if possible."""
        self._take_scale(old, ONE)
        pending = self.pending[old]
        node, scale, shift = pending.node, pending.scale, pending.shift
        if pending.sole and node not in self.consumed:
            _absorb(node, scale, shift)
        else:
            node = self._affine(node, scale, shift)
        self.pending[old] = Pending(node)
        return node

    def _affine(self, node, scale, shift=None):
        if not _is_one(scale) and shift is not None and len(node.shape) == 4:  # one node instead of two
            channels = node.shape[-1]
            kernel = np.broadcast_to(np.float32(scale), (1, 1, 1, channels))
            bias = np.broadcast_to(np.float32(shift), channels)
            shapes = dict(strides=(1, 1), padding=((0, 0), (0, 0)), groups=channels)
            return self.emit('conv', [node, kernel, bias], node.shape, **shapes)
        for op, constant in (('mul', None if _is_one(scale) else scale), ('add', shift)):
            if constant is not None:
                node = self.emit(op, [node, np.float32(constant)], node.shape)
        return node

    def _generic(self, node):
        inputs = [self.computed(x) if isinstance(x, Node) else x for x in node.inputs]
        return self._append(dataclasses.replace(node, inputs=inputs))

    def _after(self, old, scale=ONE, shift=None):
        """Returns the `Pending` of old · scale + shift."""
        if self.users[old] > 1:  # scale and shift are for one user only
            self.computed(old)
        before = self.pending[old]
        moved = None if before.shift is None else before.shift * scale
        return dataclasses.replace(before, scale=before.scale * scale, shift=_total(moved, shift))

    def _take_scale(self, old, units):
        """Changes the scale of an old node to `units`, in the weights of the layer before its ReLU, if possible."""
        pending = self.pending[old]
        if pending.layer is not None and pending.node not in self.consumed and np.all(pending.scale / units > 0):
            _absorb(pending.layer, pending.scale / units, None)
            self.pending[old] = dataclasses.replace(pending, scale=units, layer=None)

    def _by_channel(self, node, x, y, kind):
        """Returns the `Pending` of a node that scales or shifts an array by channel; None for any other node."""
        if isinstance(y, Node):
            x, y = y, x
        channels = _per_channel(y)
        return None if channels is None or x.shape != node.shape else self._after(x, **{kind: channels})

    def _mul(self, node, x, y):
        return self._by_channel(node, x, y, 'scale')

    def _div(self, node, x, y):
        return None if isinstance(y, Node) else self._mul(node, x, 1 / np.asarray(y, np.float64))

    def _sub(self, node, x, y):
        return None if isinstance(y, Node) else self._add(node, x, -y)

    def _add(self, node, x, y):
        if isinstance(y, Node) and isinstance(x, Node):
            return self._sum(node, x, y)
        return self._by_channel(node, x, y, 'shift')

    def _sum(self, node, x, y):
        if x.shape != y.shape:
            return None
        for old in (x, y):
            if self.pending[old].sole:
                self.computed(old)
        for old, other in ((x, y), (y, x)):
            units = self.pending[other].scale
            self._take_scale(old, units if _may_divide(units) else ONE)
        if _is_one(self.pending[x].scale):
            x, y = y, x
        # The sum is computed at the scale of one side (`units`), which then needs no multiplication.
        units = self.pending[x].scale
        may_share = not _is_one(units) and _may_divide(units)
        if not may_share or _is_one(self.pending[y].scale) and not self._rescale(y, units):
            units = ONE
        one, other = self.pending[x], self.pending[y]
        nodes = [self._affine(side.node, side.scale / units) for side in (one, other)]
        return Pending(self.emit('add', nodes, node.shape), units, _total(one.shift, other.shift))

    def _rescale(self, old, units):
        """Divides a layer's outputs by `units`, undone in the layers that read them; False if that is not possible."""
        node = self.pending[old].node
        users = [user for user in self.graph if any(x is node for x in user.inputs)]
        same = {each for each, pending in self.pending.items() if pending.node is node}
        made = sum(any(x in same for x in each.inputs if isinstance(x, Node)) for each in same)  # users within `same`
        expected = sum(self.users[each] for each in same) - made
        if node.op not in LAYERS or len(users) + 1 < expected or not all(user.op in LAYERS for user in users):
            return False
        units = np.broadcast_to(units, node.shape[-1:])
        _absorb(node, 1 / units, None)
        for user in users:
            axis = -1 if user.params.get('groups', 1) > 1 else -2  # the kernel axis of the node's channels
            user.inputs[1] = np.float32(user.inputs[1] * np.expand_dims(units, tuple(range(1, -axis))))
        self.pending[old] = dataclasses.replace(self.pending[old], scale=units)
        return True

    def _dot_general(self, node, x, kernel):
        contracted, batch = node.params['dimension_numbers']
        is_dense = isinstance(x, Node) and not isinstance(kernel, Node) and kernel.ndim == 2 and batch == ((), ())
        if not is_dense or contracted[0] != (len(x.shape) - 1,):
            return None
        kernel = np.float64(kernel if contracted[1] == (0,) else kernel.T)
        if self.pending[x].sole:
            self.computed(x)
        before = self.pending[x]
        scaled = kernel * np.broadcast_to(before.scale, len(kernel))[:, None]
        bias = None if before.shift is None else np.broadcast_to(before.shift, len(kernel)) @ kernel
        dense = self.emit('dense', [before.node, np.float32(scaled)], node.shape)
        return Pending(dense, shift=bias, sole=True)

    def _conv_general_dilated(self, node, x, kernel):
        params = node.params
        numbers, groups, padding = params['dimension_numbers'], params['feature_group_count'], params['padding']
        is_nhwc = (numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec) == ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
        is_plain = set((*params['lhs_dilation'], *params['rhs_dilation'], params['batch_group_count'])) == {1}
        is_depthwise = groups == x.shape[-1] == node.shape[-1]
        if not (is_nhwc and is_plain and isinstance(kernel, np.ndarray) and (groups == 1 or is_depthwise)):
            return None
        is_padded = any(map(any, padding))
        if self.pending[x].sole or is_padded and self.pending[x].shift is not None:
            self.computed(x)
        before, kernel, bias = self.pending[x], np.float64(kernel), None
        axis = (slice(None), None) if groups == 1 else (None, slice(None))  # aligns x's channels with the kernel
        if before.shift is not None:
            shift = np.broadcast_to(before.shift, x.shape[-1])[axis]
            bias = (kernel * shift).sum((0, 1, 2))
        kernel = kernel * np.broadcast_to(before.scale, x.shape[-1])[axis]
        shapes = dict(strides=tuple(params['window_strides']), padding=tuple(map(tuple, padding)), groups=groups)
        conv = self.emit('conv', [before.node, np.float32(kernel)], node.shape, **shapes)
        return Pending(conv, shift=bias, sole=True)

    def _reduce_sum(self, node, x):
        if tuple(node.params['axes']) != (1, 2) or len(x.shape) != 4:
            return None
        return self._summed('mean', node, x, x.shape[1:3])

    def _reduce_window_sum(self, node, x):
        params, sides = node.params, node.params['window_dimensions']
        is_dilated = {*params['base_dilation'], *params['window_dilation']} != {1}
        if is_dilated or any(map(any, params['padding'])) or len(sides) != 4 or (sides[0], sides[3]) != (1, 1):
            return None
        window = {key: node.params[key] for key in ('window_dimensions', 'window_strides')}
        return self._summed('avg_pool', node, x, window['window_dimensions'], window=window)

    def _summed(self, op, node, x, size, **params):
        """Returns the `Pending` of a sum over a window: the mean, which file formats support, times the window size."""
        before, places = self.pending[x], np.float64(math.prod(size))
        mean = self.emit(op, [before.node], node.shape, **params)
        return Pending(mean, before.scale * places, None if before.shift is None else before.shift * places)

    def _slice(self, node, x):
        if node.shape[-1] != x.shape[-1]:
            return None
        before, start, limit = self.pending[x], node.params['start_indices'], node.params['limit_indices']
        conv, strides = before.node, node.params['strides'] or (1,) * len(x.shape)
        whole = not any(start) and limit == x.shape and conv.op == 'conv' and conv.params['strides'] == (1, 1)
        if whole and before.sole and self.users[x] == 1:  # a strided slice of it is a strided convolution
            conv.params['strides'], conv.shape = tuple(strides[1:3]), node.shape
            return before
        new = self._append(dataclasses.replace(node, inputs=[before.node]))
        return dataclasses.replace(before, node=new, sole=False, layer=None)


def _absorb(layer, scale, shift):
    """Multiplies the outputs of a layer by `scale` and adds `shift` to them, by changing its weights."""
    layer.inputs[1:] = [np.float32(np.float64(weights) * scale) for weights in layer.inputs[1:]]
    if shift is not None:
        bias = np.broadcast_to(np.float32(shift), layer.shape[-1:])
        layer.inputs[2:] = [layer.inputs[2] + bias if layer.inputs[2:] else bias]


def _is_one(scale):
    return bool(np.all(scale == 1))


def _may_divide(scale):
    """Returns whether the scales are of similar size: int8 has only one step for all channels of an activation."""
    return np.abs(scale).min() > 0.2 * np.abs(scale).max()


def _total(a, b):
    """Returns a + b, where None is 0."""
    return b if a is None else a if b is None else a + b


def _per_channel(constant):
    """Returns a constant that varies only along the channels, as float64; None for anything else."""
    if isinstance(constant, Node) or math.prod(constant.shape[:-1]) != 1:
        return None
    return np.asarray(constant, np.float64).reshape(() if constant.size == 1 else -1)
