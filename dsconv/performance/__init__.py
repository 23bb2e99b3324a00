"""Timing, the machine, and the cost of a compiled step. Used by benchmarks, studies, exporting and preflight."""
