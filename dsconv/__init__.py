"""dsconv: a tiny, accurate image classifier trained fast on a TPU."""
