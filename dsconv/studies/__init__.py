"""Grids of ordinary runs: what is varied, the runs, what came of them. Light to import."""
