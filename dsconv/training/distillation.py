"""Distillation: the probabilities of trained networks, the teachers, as soft targets.

Follows Hinton et al. 2015 (arXiv:1503.02531), section 2, at temperature 1. As in Beyer et al. 2022 (arXiv:2106.05237),
section 3, the teachers see the augmented images of the step.
"""

import logging

import jax

from dsconv import config as configuration
from dsconv.errors import InputError, shown
from dsconv.training.network import restore_network
from dsconv.training.step import logits_in_microbatches

logger = logging.getLogger('dsconv')
ALIKE = ('class_names', 'image_size', 'channels')  # keys of `dataset` in which a teacher agrees with the network


def make_soft_targets(config, mesh):
    """Makes `soft_targets(images, targets)` of a training step, from `loss.teachers` and w = `loss.teacher_weight`.

    Images are `(batch, height, width, channels)` in [0, 255], targets float32 `(batch, classes)`. It returns
    (1 − w) · targets + w · the mean of the teachers' probabilities, or targets if there is no teacher. Raises
    InputError if a teacher has no checkpoint, or other classes or images.
    """
    teachers, weight = [_restore(path, config, mesh) for path in config.loss.teachers or ()], config.loss.teacher_weight

    def soft_targets(images, targets):
        if not teachers:
            return targets
        taught = sum(jax.nn.softmax(logits(variables, images)) for logits, variables in teachers) / len(teachers)
        return (1 - weight) * targets + weight * taught

    return soft_targets


def _restore(path, config, mesh):
    """Returns (`logits` of `logits_in_microbatches`, variables as NumPy arrays) of the teacher in `path`."""
    try:
        workdir = configuration.find_workdir(path)
        teacher = configuration.load_run(workdir)
        network, variables, step = restore_network(workdir, teacher)
    except InputError as error:
        raise InputError(f'loss.teachers={path}: {error}') from error
    for key in ALIKE:
        there, here = teacher.dataset[key], config.dataset[key]
        if there != here:
            raise InputError(
                f'loss.teachers={path}: it was trained with dataset.{key}={shown(there)}, here it is {shown(here)}: '
                f'a teacher needs the same classes, in the same order, and the same size of images'
            )
    logger.info('learns from %s, step %d', path, step)
    return logits_in_microbatches(teacher, network, mesh), jax.device_get(variables)
