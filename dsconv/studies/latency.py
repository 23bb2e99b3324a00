"""Latency of networks for one image and for a batch, measured in turn, on one device."""

import logging
import statistics

from dsconv.errors import InputError
from dsconv.performance.timing import in_turn, seconds_per_call

BATCH = 64
ROUNDS = 5
SECONDS = 0.2  # of a measurement, at least one call

logger = logging.getLogger('dsconv')


def measure(configs: dict, rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, dict[str, float]]:
    """Measures networks, name → resolved config, at random weights on random pictures, from pixels to logits.

    Returns:
      Name → `latency_one` and `latency_batch`, seconds for one image and for `BATCH`, the medians of the rounds. A
      network that refuses images of this size, or is too large for the device, is left out, with a warning.
    """
    calls = {}
    for name, config in configs.items():
        try:
            own = {(name, key): _call(config, images) for key, images in _KEYS.items()}
            for call in own.values():  # compiles
                call()
        except (InputError, RuntimeError) as error:  # XLA's are RuntimeErrors
            logger.warning('%s is not timed: %s', name, next(iter(str(error).splitlines()), ''))
        else:
            calls |= own
    measures = {key: lambda call=call: seconds_per_call(call, seconds) for key, call in calls.items()}
    taken = {key: statistics.median(values) for key, values in in_turn(measures, rounds).items()}
    return {name: {key: taken[name, key] for key in _KEYS} for name in configs if (name, 'latency_one') in taken}


_KEYS = {'latency_one': 1, 'latency_batch': BATCH}


def _call(config, images):
    import jax
    import numpy as np

    from dsconv.training.mesh import make_mesh, to_global
    from dsconv.training.setup import build_network, image_shape
    from dsconv.training.state import init_variables
    from dsconv.training.step import make_logits

    config = config.copy_and_resolve_references()
    config.dataset.mean = config.dataset.std = (0.5,) * config.dataset.channels  # cost the same as the data's own
    mesh, network, shape = make_mesh(jax.devices()[:1]), build_network(config), image_shape(config)
    variables = jax.jit(lambda: init_variables(network, shape, config.seed))()
    pixels = np.random.default_rng(0).integers(0, 256, (images, *shape), dtype=np.uint8)
    logits, batch = make_logits(config, network, mesh), to_global(mesh, pixels)
    return lambda: np.asarray(logits(variables, batch))
