"""dsconv's own augmentation of a batch, in one jitted call."""

import itertools

import jax

from benchmarks.process import random_batch
from dsconv.augment import make_augment


def prepare(task: dict) -> dict:
    """Returns the function that augments a batch, as `benchmarks.process` requires."""
    augment = make_augment({'epochs': 1, 'augment': task['augment']}, task['classes'])
    batch, numbers = jax.device_put(random_batch(task)), itertools.count()

    @jax.jit
    def augmented(number, images, labels):
        return augment(jax.random.fold_in(jax.random.key(0), number), 0, images, labels)

    return {'augment': lambda: jax.block_until_ready(augmented(next(numbers), *batch))}
