"""Recognises the activations in a graph of `dsconv.exporting.graph`."""

import numpy as np

from dsconv.exporting.graph import ACTIVATIONS, Node

ELEMENTWISE = ('add', 'sub', 'mul', 'div', 'max', 'min', 'pow', 'exp', 'expm1', 'log1p', 'tanh', 'logistic', 'erf')
ELEMENTWISE += ('erfc', 'integer_pow', 'square', 'neg', 'sign', 'select_n', 'ge', 'gt', 'le', 'lt', 'eq', 'ne')
ELEMENTWISE += ('abs', 'sqrt', 'rsqrt', 'log')
# The far ones tell ReLU from clip(x, 0, 20). Those that are 0 somewhere are so exactly: maximum(x, 1e-6) is no ReLU.
SAMPLES = np.float32([*np.linspace(-9, 9, 73), -80, 80, -1e4, 1e4])
EXACT = ('relu', 'relu6')


def find_activations(graph: list[Node]) -> dict[Node, tuple[str, Node]]:
    """Returns node → (name, source) of the nodes that are an activation of `source`, told by its values at `SAMPLES`.

    How JAX writes an activation differs between versions; its values do not.
    """
    chains, found = {}, {}  # node → (source, its values where those of the source are SAMPLES)
    for node in graph:
        inputs = [chains.get(x, (x, SAMPLES)) if isinstance(x, Node) else (None, x) for x in node.inputs]
        origins = {source for source, _ in inputs if source}
        if node.op in ELEMENTWISE and len(origins) == 1 and all(source or not x.ndim for source, x in inputs):
            arguments = [np.broadcast_to(x, SAMPLES.shape) for _, x in inputs]
            chains[node] = origins.pop(), np.asarray(node.primitive.bind(*arguments, **node.params))
    known = {name: (function(SAMPLES), 0 if name in EXACT else 1e-6) for name, function in ACTIVATIONS.items()}
    for node, (source, values) in chains.items():
        users = [user for user in graph if any(x is node for x in user.inputs)]
        if not users or any(chains.get(user, (None,))[0] is not source for user in users):  # others need it
            close = [name for name, (own, atol) in known.items() if np.allclose(values, own, rtol=1e-5, atol=atol)]
            if close:
                found[node] = close[0], source
    return found
