"""Benchmarks of dsconv against other libraries. Run them with `python -m dsconv.benchmark`."""
