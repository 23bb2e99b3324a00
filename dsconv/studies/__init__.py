"""Studies: grids of ordinary runs, several seeds for each variant, and their results. Light to import."""
