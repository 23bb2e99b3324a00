"""Layers that the networks share: activations, batch normalisation over groups of the batch, global pooling, attention.

And the checks of the image's size by networks that are made for larger ones.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dsconv.errors import InputError

# GELU (Hendrycks & Gimpel 2016) by its tanh form is twice as fast on CPU and a quarter faster on TPU than by erf.
ACTIVATIONS = {
    'gelu': functools.partial(nn.gelu, approximate=True),
    'gelu_exact': functools.partial(nn.gelu, approximate=False),
    'relu': nn.relu,
    'leaky_relu': nn.leaky_relu,
    'elu': nn.elu,
    'silu': nn.silu,
}
NORMS = ('batch', 'layer', 'none')
# The thesis trained with Keras: its defaults for momentum, epsilon and initial weights.
BATCH_NORM_MOMENTUM = 0.99
NORM_EPSILON = 1e-3


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015) with statistics over `groups` equal parts of the batch.

    One group is the whole batch. With as many groups as accelerator cores each core normalises by its own images, as
    replicas do that never talk to each other, whatever the number of devices the computation really runs on.

    The running statistics average over the groups and move by `BATCH_NORM_MOMENTUM`, faster in a run's first steps:
    after n steps the old ones weigh min(momentum, (1 + n) / (10 + n)), so that a run of a hundred steps, on a small
    folder of pictures, is not evaluated by the statistics it was initialised with.

    `(batch, …, channels)` → the same shape, in `dtype`; statistics and parameters are float32. While training,
    `batch` must be divisible by `groups`.
    """

    groups: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def weights(self, channels: int):
        """Scale and shift, float32 `(channels,)` each, and the running statistics' variables: mean, var, count."""
        scale = self.param('scale', nn.initializers.ones, (channels,))
        shift = self.param('bias', nn.initializers.zeros, (channels,))
        mean = self.variable('batch_stats', 'mean', jnp.zeros, (channels,))
        var = self.variable('batch_stats', 'var', jnp.ones, (channels,))
        return scale, shift, (mean, var, self.variable('batch_stats', 'count', jnp.zeros, ()))

    def __call__(self, x, train: bool):
        scale, shift, running = self.weights(x.shape[-1])
        if not train:
            return affine(x, running[0].value, running[1].value, scale, shift, self.dtype)
        # With height and width apart: their sums over a single axis, which the gradient of `by_group` takes, are twenty
        # times as slow on a CPU where there is one group.
        grouped = by_group(x, self.groups).reshape(self.groups, -1, *x.shape[1:])
        mean, var = statistics(grouped)
        self.update(running, mean, var)
        return affine(grouped, mean, var, scale, shift, self.dtype).reshape(x.shape)

    def update(self, running, mean, var):
        """Moves the running statistics towards those of a batch, `(groups, 1, …, channels)` each."""
        if self.is_initializing():
            return
        running_mean, running_var, count = running
        momentum = jnp.minimum(BATCH_NORM_MOMENTUM, (1 + count.value) / (10 + count.value))
        axes = tuple(range(mean.ndim - 1))
        running_mean.value = momentum * running_mean.value + (1 - momentum) * jnp.mean(mean, axes)
        running_var.value = momentum * running_var.value + (1 - momentum) * jnp.mean(var, axes)
        count.value += 1


def by_group(x, groups: int):
    """`(batch, …, channels)` → `(groups, places, channels)`, at least float32."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(groups, -1, x.shape[-1])


def statistics(grouped):
    """Mean and variance, `(groups, 1, …, channels)` each, of `(groups, places, …, channels)`."""
    axes = tuple(range(1, grouped.ndim - 1))
    mean = jnp.mean(grouped, axes, keepdims=True)
    # E[x²] − E[x]² needs one pass over the activations, E[(x − E[x])²] two.
    return mean, jnp.maximum(jnp.mean(jnp.square(grouped), axes, keepdims=True) - jnp.square(mean), 0.0)


def affine(x, mean, var, scale, shift, dtype):
    """(x − mean) / √(var + ε) · scale + shift, in `dtype`."""
    factor = scale * lax.rsqrt(var + NORM_EPSILON)
    return (x * factor + (shift - mean * factor)).astype(dtype)


class GlobalAveragePool(nn.Module):
    """`(batch, height, width, channels)` → `(batch, channels)` in float32."""

    @nn.compact
    def __call__(self, x):
        return jnp.mean(x, axis=(1, 2), dtype=jnp.float32)


class AttentionProduct(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017, equation 1), a module so that its arithmetic is counted.

    Queries, keys and values, `(batch, tokens, heads, features)` each → the same shape.
    """

    @nn.compact
    def __call__(self, queries, keys, values):
        return jax.nn.dot_product_attention(queries, keys, values)


def check_size(images, smallest: int) -> None:
    """Raises InputError for images of fewer than `smallest` pixels a side, which pooling would leave nothing of."""
    height, width = images.shape[1:3]
    if min(height, width) < smallest:
        raise InputError(
            f'images of {height}×{width} are too small for this network, which needs {smallest}×{smallest} or more; '
            'take another model.name, or a larger dataset.image_size'
        )


def check_patches(images, patch: int) -> None:
    """Raises InputError for images that do not divide into patches of `patch` pixels a side."""
    height, width = images.shape[1:3]
    if height % patch or width % patch:
        raise InputError(
            f'images of {height}×{width} do not divide into the {patch}×{patch} patches of this network; '
            f'take another model.name, or a dataset.image_size that is a multiple of {patch}'
        )
