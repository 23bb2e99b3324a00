"""Layers that the networks share: activations, batch normalisation over groups of the batch, global pooling."""

import functools

import flax.linen as nn
import jax.numpy as jnp

# GELU (Hendrycks & Gimpel 2016) by its tanh form is twice as fast on CPU and a quarter faster on TPU than by erf.
ACTIVATIONS = {
    'gelu': functools.partial(nn.gelu, approximate=True),
    'gelu_exact': functools.partial(nn.gelu, approximate=False),
    'relu': nn.relu,
    'silu': nn.silu,
}
NORMS = ('batch', 'layer', 'none')
# The thesis trained with Keras: its defaults for momentum, epsilon and initial weights.
BATCH_NORM_MOMENTUM = 0.99
NORM_EPSILON = 1e-3
glorot_uniform = nn.initializers.glorot_uniform()


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
    def __call__(self, x, train: bool):
        channels = x.shape[-1:]
        scale = self.param('scale', nn.initializers.ones, channels)
        bias = self.param('bias', nn.initializers.zeros, channels)
        running_mean = self.variable('batch_stats', 'mean', jnp.zeros, channels)
        running_var = self.variable('batch_stats', 'var', jnp.ones, channels)
        count = self.variable('batch_stats', 'count', jnp.zeros, ())
        if not train:
            return self._normalise(x, running_mean.value, running_var.value, scale, bias)

        grouped = x.reshape(self.groups, -1, *x.shape[1:])
        axes = tuple(range(1, grouped.ndim - 1))
        wide = grouped.astype(jnp.float32)
        mean = jnp.mean(wide, axes, keepdims=True)
        # E[x²] − E[x]² needs one pass over the activations, E[(x − E[x])²] two.
        var = jnp.maximum(jnp.mean(jnp.square(wide), axes, keepdims=True) - jnp.square(mean), 0.0)
        if not self.is_initializing():
            momentum = jnp.minimum(BATCH_NORM_MOMENTUM, (1 + count.value) / (10 + count.value))
            for running, batch in ((running_mean, mean), (running_var, var)):
                batch = jnp.mean(batch.reshape(self.groups, -1), axis=0)
                running.value = momentum * running.value + (1 - momentum) * batch
            count.value += 1
        return self._normalise(grouped, mean, var, scale, bias).reshape(x.shape)

    def _normalise(self, x, mean, var, scale, bias):
        factor = scale / jnp.sqrt(var + NORM_EPSILON)
        return (x * factor + (bias - mean * factor)).astype(self.dtype)


class ActivationNorm(nn.Module):
    """What follows every convolution of the thesis: the activation, then the norm, each chosen by name.

    `activation` is a key of `ACTIVATIONS`, `norm` one of `NORMS`; layer normalisation (Ba et al. 2016) is over the
    channels. `(batch, …, channels)` → the same shape, in `dtype`.
    """

    activation: str = 'gelu'
    norm: str = 'batch'
    groups: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, train: bool):
        x = ACTIVATIONS[self.activation](x)
        if self.norm == 'batch':
            return BatchNorm(self.groups, self.dtype, name='batch_norm')(x, train)
        if self.norm == 'layer':
            return nn.LayerNorm(epsilon=NORM_EPSILON, dtype=self.dtype, name='layer_norm')(x)
        return x


class GlobalAveragePool(nn.Module):
    """`(batch, height, width, channels)` → `(batch, channels)` in float32."""

    @nn.compact
    def __call__(self, x):
        return jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
