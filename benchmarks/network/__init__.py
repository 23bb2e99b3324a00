"""The network in several libraries: `comparison` measures it, one module a library builds it."""
