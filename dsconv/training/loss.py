"""Losses of a classifier, each `(logits, targets)` → the per-example loss, in nats.

Logits are float32 `(batch, classes)`; targets, of the same shape, are probabilities that sum to one: soft where labels
are smoothed or images mixed.
"""

import functools

import jax
import jax.numpy as jnp
import optax


def focal_loss(logits, targets, gamma: float):
    """Weighs the cross-entropy of a class of probability p by (1 − p)^γ, so that easy examples count less.

    Lin et al. 2017 (arXiv:1708.02002), equation 4, over the classes of a softmax; γ = 0 is the cross-entropy.
    """
    log_probabilities = jax.nn.log_softmax(logits)
    # At a probability of 1 the power of a γ below 1 has no gradient.
    probabilities = jnp.minimum(jnp.exp(log_probabilities), 1 - jnp.finfo(logits.dtype).eps)
    return -jnp.sum(targets * (1 - probabilities) ** gamma * log_probabilities, axis=-1)


def binary_cross_entropy(logits, targets):
    """Sums the sigmoid cross-entropies of the classes, each a question of its own.

    Wightman et al. 2021 (arXiv:2110.00476), section 3.3, train ResNet-50 so. Soft targets stay soft.
    """
    return jnp.sum(optax.sigmoid_binary_cross_entropy(logits, targets), axis=-1)


# Name → the `loss` part of a config → the loss.
LOSSES = {
    'cross_entropy': lambda loss: optax.softmax_cross_entropy,
    'focal': lambda loss: functools.partial(focal_loss, gamma=loss['focal_gamma']),
    'binary_cross_entropy': lambda loss: binary_cross_entropy,
}


def make_loss(loss):
    """Makes the loss that a config's `loss` part describes: its `name`, `label_smoothing` and `focal_gamma`."""
    chosen = LOSSES[loss['name']](loss)
    return lambda logits, targets: chosen(logits, optax.smooth_labels(targets, loss['label_smoothing']))
