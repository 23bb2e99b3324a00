"""Compiling what runs once, on little."""

import functools

import jax

# As `jax.jit`, in half the time: XLA optimises nothing. Not for what must come out to the last bit in a real program.
quick_jit = functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})
