"""Classification losses: (logits, targets), both float32 `(batch, classes)` → the loss of each example, in nats."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dsconv.config_checks import taken_by
from dsconv.errors import InputError, shown


def focal_loss(logits, targets, focal_gamma: float):
    """Weights the cross-entropy of a class with probability p by (1 − p)^γ, so that easy examples count less.

    Lin et al. 2017 (arXiv:1708.02002), equation 4, on softmax probabilities; γ = 0 gives the cross-entropy.
    """
    log_probabilities = jax.nn.log_softmax(logits)
    # At a probability of 1, the derivative of (1 − p)^γ is infinite for γ below 1.
    probabilities = jnp.minimum(jnp.exp(log_probabilities), 1 - jnp.finfo(logits.dtype).eps)
    return -jnp.sum(targets * (1 - probabilities) ** focal_gamma * log_probabilities, axis=-1)


def binary_cross_entropy(logits, targets):
    """Sums the sigmoid cross-entropies of the classes: each class is a separate binary problem.

    Wightman et al. 2021 (arXiv:2110.00476), section 3.3, train ResNet-50 with it. Soft targets are not binarised.
    """
    return jnp.sum(optax.sigmoid_binary_cross_entropy(logits, targets), axis=-1)


# Name → loss: (logits, targets, the keys of the `loss` section that it takes) → the loss of each example.
LOSSES = {
    'cross_entropy': optax.softmax_cross_entropy,
    'focal': focal_loss,
    'binary_cross_entropy': binary_cross_entropy,
}


def make_loss(loss):
    """Makes the loss of a config's `loss` section: `name`, `label_smoothing`, `focal_gamma`, `class_weights`.

    The weight of an example is the sum of target × class weight, with the targets before label smoothing. The weights
    are not normalised over a batch, so that an example counts the same in every batch.
    """
    chosen = functools.partial(LOSSES[loss['name']], **taken_by(LOSSES[loss['name']], loss))
    smoothed = functools.partial(optax.smooth_labels, alpha=loss['label_smoothing'])
    if loss['class_weights'] is None:
        return lambda logits, targets: chosen(logits, smoothed(targets))
    weights = jnp.asarray(_numbers(loss['class_weights']), jnp.float32)
    return lambda logits, targets: jnp.sum(targets * weights, axis=-1) * chosen(logits, smoothed(targets))


def resolve_class_weights(text: str | None, split, class_names) -> str | None:
    """Returns `loss.class_weights` as comma-separated numbers, one for each of `class_names`, or None.

    'balanced' gives each class that has examples in `split` the same sum of weights: examples / (classes · examples of
    the class), as in scikit-learn's `compute_class_weight`. Raises InputError unless there is a number in (0, 10⁶)
    for each class.
    """
    if text == 'balanced':
        counts = np.bincount(split.labels, minlength=len(class_names))
        weights = split.num_examples / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return ','.join(f'{weight:.6g}' for weight in weights)
    try:
        if text is None or len(_numbers(text)) == len(class_names) and all(0 < w < 1e6 for w in _numbers(text)):
            return text
    except ValueError:
        pass
    numbers = f'a number in (0, 1000000) for each of the {len(class_names)} classes {shown(class_names)}'
    raise InputError(f'loss.class_weights={shown(text)} must be none, balanced, or {numbers}')


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(',')]
