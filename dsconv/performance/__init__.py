"""Performance: what `python -m dsconv.benchmark` measures."""
