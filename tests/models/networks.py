"""What the tests of the networks share."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

ACTIVATION_FORMULAS = {
    'gelu': lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    'gelu_exact': lambda x: 0.5 * x * (1 + scipy.special.erf(x / np.sqrt(2))),
    'relu': lambda x: np.where(x > 0, x, 0),
    'leaky_relu': lambda x: np.where(x > 0, x, 0.01 * x),
    'elu': lambda x: np.where(x > 0, x, np.exp(x) - 1),
    'silu': lambda x: x / (1 + np.exp(-x)),
}


def drawn_variables(network, image_shape):
    """Variables as after some training, drawn by NumPy: kernels of ReLU's scale, vectors from ½ to 1."""
    generator = np.random.default_rng(0)

    def draw(shape):
        if len(shape) > 1:
            return generator.normal(size=shape).astype(np.float32) * np.sqrt(2 / np.prod(shape[:-1]))
        return generator.uniform(0.5, 1, shape).astype(np.float32)

    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *image_shape)))
    return jax.tree.map(lambda leaf: draw(leaf.shape), shapes)
