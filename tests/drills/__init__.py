"""Drills: what takes too long for a test, or needs a disk of its own. `python -m tests.drills --help`."""
