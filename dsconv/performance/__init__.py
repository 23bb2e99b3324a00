"""Measurement: timing, the machine, and what a compiled step costs. Used by benchmarks, studies and preflight."""
