"""RandAugment and AutoAugment: the operations to apply, drawn for each image independently.

A draw for a batch is two arrays, int32 `(batch, layers)`: indices into `operations.OPERATIONS`, and steps of the
magnitudes, 0 to `STEPS`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dsconv.augment.operations import OPERATIONS, RANDAUGMENT_OPERATIONS, STEPS

# Cubuk et al. 2019, AutoAugment, table 7 (CIFAR-10): two operations each, with probability and level, 0 … 9.
AUTOAUGMENT = (
    (('Invert', 0.1, 7), ('Contrast', 0.2, 6)),
    (('Rotate', 0.7, 2), ('TranslateX', 0.3, 9)),
    (('Sharpness', 0.8, 1), ('Sharpness', 0.9, 3)),
    (('ShearY', 0.5, 8), ('TranslateY', 0.7, 9)),
    (('AutoContrast', 0.5, 8), ('Equalize', 0.9, 2)),
    (('ShearY', 0.2, 7), ('Posterize', 0.3, 7)),
    (('Color', 0.4, 3), ('Brightness', 0.6, 7)),
    (('Sharpness', 0.3, 9), ('Brightness', 0.7, 9)),
    (('Equalize', 0.6, 5), ('Equalize', 0.5, 1)),
    (('Contrast', 0.6, 7), ('Sharpness', 0.6, 5)),
    (('Color', 0.7, 7), ('TranslateX', 0.5, 8)),
    (('Equalize', 0.3, 7), ('AutoContrast', 0.4, 8)),
    (('TranslateY', 0.4, 3), ('Sharpness', 0.2, 6)),
    (('Brightness', 0.9, 6), ('Color', 0.2, 8)),
    (('Solarize', 0.5, 2), ('Invert', 0.0, 3)),
    (('Equalize', 0.2, 0), ('AutoContrast', 0.6, 0)),
    (('Equalize', 0.2, 8), ('Equalize', 0.6, 4)),
    (('Color', 0.9, 9), ('Equalize', 0.6, 6)),
    (('AutoContrast', 0.8, 4), ('Solarize', 0.2, 8)),
    (('Brightness', 0.1, 3), ('Color', 0.7, 0)),
    (('Solarize', 0.4, 5), ('AutoContrast', 0.9, 3)),
    (('TranslateY', 0.9, 9), ('TranslateY', 0.7, 9)),
    (('AutoContrast', 0.9, 2), ('Solarize', 0.8, 3)),
    (('Equalize', 0.8, 8), ('Invert', 0.1, 3)),
    (('TranslateY', 0.7, 9), ('AutoContrast', 0.9, 1)),
)
_IDENTITY = OPERATIONS.index('Identity')
_OPERATIONS = np.array([[OPERATIONS.index(name) for name, _, _ in policy] for policy in AUTOAUGMENT])
_PROBABILITIES = np.array([[probability for _, probability, _ in policy] for policy in AUTOAUGMENT])
_STEPS = np.array([[level * STEPS // 9 for _, _, level in policy] for policy in AUTOAUGMENT])


def randaugment(key, batch: int, layers: int, magnitude: float, spread: float):
    """Draws RandAugment (Cubuk et al. 2020): each of the `layers` operations (the paper's N) is uniform over the 14.

    `magnitude` is the paper's M on the scale of the authors' code, 0 … 10: 10 is the end of each range. At 5, the four
    enhancements change nothing: their factor is 0.1 + 1.8 · M / 10. `spread` is the standard deviation of a magnitude
    around M, 0 in the paper; the result is clipped to the scale.
    """
    operation_key, step_key = jax.random.split(key)
    magnitudes = magnitude + spread * jax.random.normal(step_key, (batch, layers))
    operation = jax.random.randint(operation_key, (batch, layers), 0, len(RANDAUGMENT_OPERATIONS))
    return operation, jnp.round(jnp.clip(magnitudes, 0, 10) * (STEPS / 10)).astype(jnp.int32)


def autoaugment(key, batch: int):
    """Draws AutoAugment's CIFAR-10 policy: one of 25 sub-policies of two operations, each with its probability.

    Level k of 0 … 9 is k/9 of a range, as in the paper (ten equally spaced values).
    """
    policy_key, happens_key = jax.random.split(key)
    policy = jax.random.randint(policy_key, (batch,), 0, len(AUTOAUGMENT))
    happens = jax.random.bernoulli(happens_key, jnp.array(_PROBABILITIES)[policy])
    operation = jnp.where(happens, jnp.array(_OPERATIONS)[policy], _IDENTITY)
    return operation, jnp.array(_STEPS)[policy]


def choose(key, batch: int, settings):
    """Draws a batch's operations as the `augment` section of a config says; its `policy` must not be 'none'."""
    coin_key, randaugment_key, autoaugment_key = jax.random.split(key, 3)
    magnitude, spread = settings['randaugment_magnitude'], settings['randaugment_spread']
    drawn = {
        'randaugment': randaugment(randaugment_key, batch, settings['randaugment_layers'], magnitude, spread),
        'autoaugment': autoaugment(autoaugment_key, batch),
    }
    if settings['policy'] != 'either':
        return drawn[settings['policy']]
    takes_randaugment = jax.random.bernoulli(coin_key, shape=(batch, 1))
    layers = max(operation.shape[1] for operation, _ in drawn.values())

    def lengthened(values):
        return jnp.pad(values, ((0, 0), (0, layers - values.shape[1])), constant_values=_IDENTITY)

    return [jnp.where(takes_randaugment, *map(lengthened, pair)) for pair in zip(*drawn.values(), strict=True)]
