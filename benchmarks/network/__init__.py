"""The network in several libraries: `comparison` measures it; one module per library builds it."""
