"""MixUp and CutMix: mixes each image of a batch with its neighbour, and their labels in the same proportion."""

import jax
import jax.numpy as jnp
from jax import lax

from dsconv.augment.erase import box_mask, centred, draw_places

MIX_PER = ('batch', 'image')


def is_on(settings) -> bool:
    """Returns whether `settings`, the `augment` section of a config, ever mixes images."""
    return bool(settings['mix_probability'] and (settings['mixup_alpha'] or settings['cutmix_alpha']))


def mix(key, planes, soft_labels, height: int, width: int, settings, active):
    """Mixes each image with its neighbour: the first with the second, the third with the fourth, ….

    Both methods compute λ · image + (1 − λ) · neighbour for each pixel. λ is a scalar for MixUp (Zhang et al. 2018,
    equation 1); for CutMix, it is 0 within a box and 1 outside (Yun et al. 2019, equation 1). Labels are weighted by
    the mean of λ, so that a box counts only with its area inside the image. Neighbours are on the same device
    if each device has an even number of images. The last image of an odd batch is not mixed.

    `planes`, uint8 `(batch, channels, height · width)`, and `soft_labels`, float32 `(batch, classes)`, are returned in
    the same form; `settings` is the `augment` section of a config. Nothing is mixed if `active`, a bool, is False.
    """
    shape = (len(planes),) if settings['mix_per'] == 'image' else (1,)
    happens_key, cutmix_key, mixup_lambda_key, cutmix_lambda_key, box_key = jax.random.split(key, 5)
    happens = active & jax.random.bernoulli(happens_key, settings['mix_probability'], shape)
    takes_cutmix = jax.random.bernoulli(cutmix_key, cutmix_probability(settings), shape)
    kept = _draw_lambda(mixup_lambda_key, settings['mixup_alpha'], shape)
    area = 1 - _draw_lambda(cutmix_lambda_key, settings['cutmix_alpha'], shape)
    sides = jnp.sqrt(area)[:, None] * jnp.array([height, width])  # Yun et al. 2019, equation 2
    box = centred(draw_places(box_key, shape, height, width), sides.astype(jnp.int32))
    outside = 1.0 - jax.vmap(lambda box: box_mask(box, height, width))(box)
    weights = jnp.where(takes_cutmix[:, None], outside, kept[:, None])
    weights = jnp.where(happens[:, None], weights, 1.0)
    mixed = _weighted(planes, _as_bytes(_neighbours(planes)), weights[:, None])
    mixed = _as_bytes(jnp.round(mixed).astype(jnp.uint8))
    return mixed, _weighted(soft_labels, _neighbours(soft_labels), jnp.mean(weights, axis=1, keepdims=True))


def cutmix_probability(settings) -> float:
    if settings['mixup_alpha'] and settings['cutmix_alpha']:
        return settings['cutmix_probability']
    return 1.0 if settings['cutmix_alpha'] else 0.0


def _draw_lambda(key, alpha: float, shape):
    return jax.random.beta(key, alpha, alpha, shape) if alpha else jnp.ones(shape)


def _weighted(values, neighbours, weights):
    return weights * values + (1 - weights) * neighbours


def _neighbours(values):
    even = len(values) // 2 * 2
    pairs = values[:even].reshape(even // 2, 2, *values.shape[1:])
    return jnp.concatenate([pairs[:, ::-1].reshape(even, *values.shape[1:]), values[even:]])


def _as_bytes(planes):
    """Returns `planes`; keeps XLA on a TPU from moving them as float32 before or after, at four times the cost."""
    return lax.optimization_barrier(planes)
