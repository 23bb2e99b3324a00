"""Benchmarks of dsconv. Run `gpu` and `rare_class` with `python -m benchmarks.NAME`, others with `dsconv.benchmark`."""
