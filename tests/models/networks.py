"""What the tests of the networks share."""

import math

import jax
import jax.numpy as jnp
import numpy as np

ACTIVATION_FORMULAS = {
    'gelu': lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    'leaky_relu': lambda x: np.where(x > 0, x, 0.01 * x),
    'silu': lambda x: x / (1 + np.exp(-x)),
}


def convolve(x, kernel, stride=1, depthwise=False, pads=None):
    """A convolution with the zeros `pads` before and after each axis, or SAME: an odd zero is at the end."""
    k, padding = len(kernel), []
    for n in x.shape[1:3]:
        total = max((math.ceil(n / stride) - 1) * stride + k - n, 0)
        padding.append(pads or (total // 2, total - total // 2))
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(x, (k, k), (1, 2))[:, ::stride, ::stride]
    if depthwise:
        return np.einsum('nhwcij,ijc->nhwc', views, kernel[:, :, 0])
    return np.einsum('nhwcij,ijcd->nhwd', views, kernel)


def drawn_variables(network, image_shape):
    """Variables as after some training, drawn by NumPy: kernels of ReLU's scale, vectors from ½ to 1."""
    generator = np.random.default_rng(0)

    def draw(shape):
        if len(shape) > 1:
            return generator.normal(size=shape).astype(np.float32) * np.sqrt(2 / np.prod(shape[:-1]))
        return generator.uniform(0.5, 1, shape).astype(np.float32)

    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *image_shape)))
    return jax.tree.map(lambda leaf: draw(leaf.shape), shapes)
