"""Batch normalisation with statistics over groups of the batch."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

# The defaults of Keras. The thesis names TensorFlow but does not state these values.
MOMENTUM = 0.99
EPSILON = 1e-3


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015) with statistics over `groups` equal parts of the batch.

    With 8 groups, a batch is normalised as on 8 cores that each see an eighth of it, on any number of devices.

    The running statistics are averaged over the groups and updated with `MOMENTUM`, or faster in the first steps of a
    run: after n steps, the weight of the old statistics is min(`MOMENTUM`, (1 + n) / (10 + n)).

    `(batch, …, channels)` → the same shape, in `dtype`; statistics and parameters are float32. In training, `batch`
    must be divisible by `groups`.
    """

    groups: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def weights(self, channels: int):
        """Returns scale and shift, float32 `(channels,)`, and the variables of the running mean, variance and count."""
        scale = self.param('scale', nn.initializers.ones, (channels,))
        shift = self.param('bias', nn.initializers.zeros, (channels,))
        mean = self.variable('batch_stats', 'mean', jnp.zeros, (channels,))
        var = self.variable('batch_stats', 'var', jnp.ones, (channels,))
        return scale, shift, (mean, var, self.variable('batch_stats', 'count', jnp.zeros, ()))

    def __call__(self, x, train: bool):
        scale, shift, running = self.weights(x.shape[-1])
        if not train:
            return affine(x, running[0].value, running[1].value, scale, shift, self.dtype)
        # Height and width stay separate axes: the gradient of `by_group` sums over them, and with one group a sum over
        # a single axis is twenty times as slow on a CPU.
        grouped = by_group(x, self.groups).reshape(self.groups, -1, *x.shape[1:])
        mean, var = statistics(grouped)
        self.update(running, mean, var)
        return affine(grouped, mean, var, scale, shift, self.dtype).reshape(x.shape)

    def update(self, running, mean, var):
        """Updates the running statistics with those of a batch, `(groups, 1, …, channels)` each."""
        if self.is_initializing():
            return
        running_mean, running_var, count = running
        momentum = jnp.minimum(MOMENTUM, (1 + count.value) / (10 + count.value))
        axes = tuple(range(mean.ndim - 1))
        running_mean.value = momentum * running_mean.value + (1 - momentum) * jnp.mean(mean, axes)
        running_var.value = momentum * running_var.value + (1 - momentum) * jnp.mean(var, axes)
        count.value += 1


def by_group(x, groups: int):
    """Reshapes `(batch, …, channels)` to `(groups, positions, channels)`, in float32 or wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(groups, -1, x.shape[-1])


def statistics(grouped):
    """Returns mean and variance, `(groups, 1, …, channels)` each, of `(groups, positions, …, channels)`."""
    axes = tuple(range(1, grouped.ndim - 1))
    mean = jnp.mean(grouped, axes, keepdims=True)
    # E[x²] − E[x]² needs one pass over the activations, E[(x − E[x])²] needs two.
    return mean, jnp.maximum(jnp.mean(jnp.square(grouped), axes, keepdims=True) - jnp.square(mean), 0.0)


def affine(x, mean, var, scale, shift, dtype):
    """Returns (x − mean) / √(var + ε) · scale + shift, in `dtype`."""
    factor = scale * lax.rsqrt(var + EPSILON)
    return (x * factor + (shift - mean * factor)).astype(dtype)
