"""What every network must do, on a tiny variant of it."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from tests.quick import quick_jit

ACTIVATION_FORMULAS = {
    'gelu': lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    'gelu_exact': lambda x: 0.5 * x * (1 + scipy.special.erf(x / np.sqrt(2))),
    'relu': lambda x: np.where(x > 0, x, 0),
    'leaky_relu': lambda x: np.where(x > 0, x, 0.01 * x),
    'elu': lambda x: np.where(x > 0, x, np.exp(x) - 1),
    'silu': lambda x: x / (1 + np.exp(-x)),
}


def parameters(network, image_shape) -> int:
    """Trainable parameters, from shapes alone."""
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *image_shape)))
    return sum(leaf.size for leaf in jax.tree.leaves(variables['params']))


def drawn_variables(network, image_shape):
    """Variables as after some training, drawn by NumPy: kernels of ReLU's scale, vectors from ½ to 1."""
    generator = np.random.default_rng(0)

    def draw(shape):
        if len(shape) > 1:
            return generator.normal(size=shape).astype(np.float32) * np.sqrt(2 / np.prod(shape[:-1]))
        return generator.uniform(0.5, 1, shape).astype(np.float32)

    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, *image_shape)))
    return jax.tree.map(lambda leaf: draw(leaf.shape), shapes)


def check_forward_and_gradient(network, image_shape) -> None:
    """Shapes and dtypes; finite gradients, not all zero in any parameter; training and evaluation differ."""
    images = np.random.default_rng(1).normal(size=(4, *image_shape)).astype(np.float32)
    weights = np.random.default_rng(2).normal(size=(4, network.num_classes)).astype(np.float32)
    variables = drawn_variables(network, image_shape)

    def run(key):
        def weighted(params):
            logits, _ = network.apply(
                variables | {'params': params}, images, train=True, mutable='batch_stats', rngs={'dropout': key}
            )
            return jnp.sum(weights * logits), logits

        (_, trained), gradient = jax.value_and_grad(weighted, has_aux=True)(variables['params'])
        return network.apply(variables, images), trained, gradient

    compiled = quick_jit(run)
    evaluated, trained, gradient = compiled(jax.random.key(0))
    for logits in (evaluated, trained):
        assert logits.shape == (4, network.num_classes)
        assert logits.dtype == jnp.float32
        assert np.all(np.isfinite(logits))
    assert not np.allclose(evaluated, trained)
    assert np.array_equal(evaluated, compiled(jax.random.key(1))[0])
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.all(np.isfinite(leaf)), path
        assert np.any(leaf), path


def output_in_bfloat16(network, image_shape):
    """The shape and dtype of the logits of a network that computes in bfloat16, and whether its parameters do not."""
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    logits, variables = jax.eval_shape(
        lambda x: network.clone(dtype=jnp.bfloat16).init_with_output(jax.random.key(0), x), images
    )
    return logits.shape, logits.dtype, {leaf.dtype for leaf in jax.tree.leaves(variables)}
