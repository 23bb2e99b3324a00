"""The result of a comparison of networks: accuracy, cost, speed, and published results."""

import contextlib
import logging
import statistics
import tomllib
from pathlib import Path

from dsconv.errors import InputError, log_traceback
from dsconv.performance import machine
from dsconv.performance.timing import in_turn, seconds_per_call
from dsconv.reporting import text_table
from dsconv.studies import ablation
from dsconv.studies.cells import Cell, resolve_config
from dsconv.studies.study import Study

PUBLISHED = Path(__file__).with_name('published.toml')
PUBLISHED_ON = 'cifar10'
BATCH = 64  # images in a batch; latency is measured for one image and for a batch
ROUNDS = 5
SECONDS = 0.2  # of a measurement, which makes at least one call
_IMAGES = {'latency_one': 1, 'latency_batch': BATCH}

logger = logging.getLogger('dsconv')


def measure(cells: list[Cell]) -> dict:
    """Returns `latency` (the result of `measure_latency`) and the keys of `machine.surroundings`."""
    configs = {}
    for cell in cells:
        with contextlib.suppress(InputError):  # reported when the cell is trained
            configs[cell.variant] = resolve_config(cell.config)
    return {'latency': measure_latency(configs), **machine.surroundings()}


def measure_latency(configs: dict, rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, dict[str, float]]:
    """Measures networks, name → resolved config, with random weights on random images, from pixels to logits.

    Returns name → `latency_one` and `latency_batch`, seconds for one image and for `BATCH` images, medians over rounds.
    A network that refuses images of this size, or is too large for the device, is skipped with a warning.
    """
    calls = {}
    for name, config in configs.items():
        try:
            own = {(name, key): _call(config, images) for key, images in _IMAGES.items()}
            for call in own.values():  # compiles
                call()
        except (InputError, RuntimeError) as error:  # XLA's are RuntimeErrors
            log_traceback(error)
            logger.warning('%s is not timed: %s', name, next(iter(str(error).splitlines()), ''))
        else:
            calls |= own
    measures = {key: lambda call=call: seconds_per_call(call, seconds) for key, call in calls.items()}
    taken = {key: statistics.median(values) for key, values in in_turn(measures, rounds).items()}
    return {name: {key: taken[name, key] for key in _IMAGES} for name in configs if (name, 'latency_one') in taken}


def _call(config, images):
    import jax
    import numpy as np

    from dsconv.training.mesh import make_mesh, to_global
    from dsconv.training.network import build_network, image_shape
    from dsconv.training.state import init_variables
    from dsconv.training.step import make_logits

    config = config.copy_and_resolve_references()
    config.dataset.mean = config.dataset.std = (0.5,) * config.dataset.channels  # cost the same as the data's values
    mesh, network, shape = make_mesh(jax.devices()[:1]), build_network(config), image_shape(config)
    variables = jax.jit(lambda: init_variables(network, shape, config.seed))()
    pixels = np.random.default_rng(0).integers(0, 256, (images, *shape), dtype=np.uint8)
    logits, batch = make_logits(config, network, mesh), to_global(mesh, pixels)
    return lambda: np.asarray(logits(variables, batch))


def summarise(study: Study, cells: list[Cell]) -> dict:
    """Returns `ablation.summarise`'s result and `published`: published results of these networks, only for CIFAR-10."""
    result = ablation.summarise(study, cells)
    figures = tomllib.loads(PUBLISHED.read_text(encoding='utf-8'))['figures']
    fitting = [figure for figure in figures if figure['model'] in study.variants]
    return result | {'published': fitting if result['dataset'] == PUBLISHED_ON else []}


def as_text(result: dict, table=text_table, text=str) -> str:
    """Formats a result as `ablation.as_text` does, with speeds and a table of published results."""
    times = [result['latency'].get(name, {}) for name in result['variants']]
    columns = {'training images/s': [found['images_per_second'] for found in result['variants'].values()]}
    for header, key in {'one image, ms': 'latency_one', f'{BATCH} images, ms': 'latency_batch'}.items():
        columns[header] = [1000 * taken[key] if taken else None for taken in times]
    remarks = [
        f'Training images/s: the median of the log, affected by other load. Latency: from pixels to logits on '
        f'one device, medians of {ROUNDS} rounds, networks in turn; {result["devices"]}, {result["cores"]} cores '
        f'({result["cpu"]}).'
    ]
    if result['published']:
        keys = {'name': 'published', 'parameters': 'parameters', 'macs': 'MACs', 'accuracy': 'accuracy, %'}
        keys |= {'source': 'source'}
        remarks += [
            'Published: test accuracies on the original CIFAR-10 with other training recipes; not directly '
            'comparable with ours.',
            table(list(keys.values()), [[row[key] for key in keys] for row in result['published']]),
        ]
    return ablation.as_text(result, table, text, columns, remarks)


def draw(result: dict) -> bytes:
    """Draws accuracy against parameters and MACs; returns the content of a PNG file."""
    from dsconv.reporting.figures import png
    from dsconv.reporting.study_figures import costs_figure

    points = [
        found | {'name': name, 'accuracy': 100 * found['mean'], 'std': found['std'] and 100 * found['std']}
        for name, found in result['variants'].items()
        if found['runs']
    ]
    costs = {'parameters': 'parameters', 'macs': 'multiply-accumulates per image'}
    return png(costs_figure(points, result['published'], costs, result['title']))
