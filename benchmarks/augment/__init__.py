"""Augmentation: what `dsconv.performance.augmentation` starts, one module a library."""
