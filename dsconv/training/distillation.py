"""Distillation: the probabilities of trained networks, the teachers, as soft targets.

Follows Hinton et al. 2015 (arXiv:1503.02531), section 2, at temperature 1. As in Beyer et al. 2022 (arXiv:2106.05237),
section 3, the teachers see the augmented images of the step.
"""

import logging

import jax

from dsconv.config import find_workdir, load_run
from dsconv.errors import InputError, beginning_with, shown
from dsconv.files import absolute
from dsconv.training.checksums import identity
from dsconv.training.network import default_step, restore_trained
from dsconv.training.step import logits_in_microbatches

logger = logging.getLogger('dsconv')
ALIKE = ('class_names', 'image_size', 'channels')  # keys of `dataset` in which a teacher agrees with the network


def resolve_teachers(loss) -> None:
    """Makes the paths in `teachers` of a `loss` section absolute, and sets `teacher_fingerprints`, one for each.

    With these, a resumed run has the same teachers. Raises InputError if they are set and differ.
    """
    if loss.teachers is None:
        loss.teacher_fingerprints = None
        return
    found = tuple(map(_fingerprint, loss.teachers))
    loss.teachers = tuple(str(absolute(find_workdir(path))) for path in loss.teachers)
    if loss.teacher_fingerprints not in (None, found):
        raise InputError(
            f'loss.teachers={shown(loss.teachers)}: the weights are not those of loss.teacher_fingerprints: give the '
            f'teachers of the config, or set --config.loss.teacher_fingerprints=none'
        )
    loss.teacher_fingerprints = found


def _fingerprint(path):
    with beginning_with(f'loss.teachers={path}: '):
        workdir = find_workdir(path)
        load_run(workdir)  # raises if there is no run
        return identity(workdir / 'checkpoints' / str(default_step(workdir)))


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
    teacher, network, variables, step = restore_trained('loss.teachers', path)
    for key in ALIKE:
        there, here = teacher.dataset[key], config.dataset[key]
        if there != here:
            raise InputError(
                f'loss.teachers={path}: it was trained with dataset.{key}={shown(there)}, here it is {shown(here)}: '
                f'a teacher needs the same classes, in the same order, and the same size of images'
            )
    logger.info('learns from %s, step %d', path, step)
    return logits_in_microbatches(teacher, network, mesh), jax.device_get(variables)
