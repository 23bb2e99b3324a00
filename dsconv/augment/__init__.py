"""Augmentation on the device, inside the jitted training step. Needs JAX alone, no TensorFlow."""

from dsconv.augment.pipeline import make_augment

__all__ = ['make_augment']
