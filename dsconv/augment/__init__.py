"""Augmentation on the device, inside the jitted training step. Needs JAX alone, no TensorFlow."""

from dsconv.augment.pipeline import make_augment
from dsconv.augment.stages import OFF

__all__ = ['OFF', 'make_augment']
