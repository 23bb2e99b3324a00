"""Training: the only subpackage that combines models, data and augmentation."""
