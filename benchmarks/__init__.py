"""The peers that `python -m dsconv.benchmark` measures this project against."""
