"""Recognises the activations in a graph of `dsconv.exporting.graph`."""

import numpy as np

from dsconv.exporting.graph import ACTIVATIONS, Node

ELEMENTWISE = ('add', 'sub', 'mul', 'div', 'max', 'min', 'pow', 'exp', 'expm1', 'log1p', 'tanh', 'logistic', 'erf')
ELEMENTWISE += ('erfc', 'integer_pow', 'square', 'neg', 'sign', 'select_n', 'ge', 'gt', 'le', 'lt', 'eq', 'ne')
ELEMENTWISE += ('abs', 'sqrt', 'rsqrt', 'log')
# The distant samples distinguish ReLU from clip(x, 0, 20).
SAMPLES = np.float32([*np.linspace(-9, 9, 73), -80, 80, -1e4, 1e4])
EXACT = ('relu', 'relu6')  # exactly 0 below 0, so compared with atol=0: maximum(x, 1e-6) is not ReLU


def find_activations(graph: list[Node]) -> dict[Node, tuple[str, Node]]:
    """Returns node → (name, source) for each node that is an activation of `source`, recognised by its values.

    The primitives of an activation differ between JAX versions; its values at `SAMPLES` do not.
    """
    chains, found = {}, {}  # chains: node → (source, values of the node if the source is SAMPLES)
    for node in graph:
        inputs = [chains.get(x, (x, SAMPLES)) if isinstance(x, Node) else (None, x) for x in node.inputs]
        origins = {source for source, _ in inputs if source}
        if node.op in ELEMENTWISE and len(origins) == 1 and all(source or not x.ndim for source, x in inputs):
            arguments = [np.broadcast_to(x, SAMPLES.shape) for _, x in inputs]
            chains[node] = origins.pop(), np.asarray(node.primitive.bind(*arguments, **node.params))
    known = {name: (function(SAMPLES), 0 if name in EXACT else 1e-6) for name, function in ACTIVATIONS.items()}
    for node, (source, values) in chains.items():
        users = [user for user in graph if any(x is node for x in user.inputs)]
        if not users or any(chains.get(user, (None,))[0] is not source for user in users):  # read outside the chain
            close = [name for name, (own, atol) in known.items() if np.allclose(values, own, rtol=1e-5, atol=atol)]
            if close:
                found[node] = close[0], source
    return found
