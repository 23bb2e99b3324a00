"""Timing, the machine, and what a compiled step costs. Used by benchmarks, studies, exporting and preflight."""
