"""What measures dsconv against others. `python -m dsconv.benchmark` is the way to it."""
