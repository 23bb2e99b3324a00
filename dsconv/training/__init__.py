"""Training: the one room that knows models, data and augmentation at once."""
