"""Drills: tests that take too long for the test suite, or need a separate disk. `python -m tests.drills --help`."""
