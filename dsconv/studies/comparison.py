"""The result of a comparison of networks: accuracy, cost, speed, and what others have published."""

import tomllib
from pathlib import Path

from dsconv.errors import InputError
from dsconv.performance import machine
from dsconv.reporting import text_table
from dsconv.studies import ablation, latency
from dsconv.studies.cells import Cell, resolve_config
from dsconv.studies.study import Study

PUBLISHED = Path(__file__).with_name('published.toml')
PUBLISHED_ON = 'cifar10'
PACKAGES = ('jax', 'jaxlib', 'flax', 'numpy')


def measure(cells: list[Cell]) -> dict:
    """Measures `latency` (network → seconds, by `latency.measure`), and says on which machine."""
    configs = {}
    for cell in cells:
        try:
            configs[cell.variant] = resolve_config(cell.config)
        except InputError:  # reported when the cell is tried
            continue
    return {'latency': latency.measure(configs), **machine.surroundings(PACKAGES)}


def summarise(study: Study, cells: list[Cell]) -> dict:
    """Returns `ablation.summarise`'s result and `published`: others' results for these networks, on CIFAR-10 alone."""
    result = ablation.summarise(study, cells)
    figures = tomllib.loads(PUBLISHED.read_text(encoding='utf-8'))['figures']
    fitting = [figure for figure in figures if figure['model'] in study.variants]
    return result | {'published': fitting if result['dataset'] == PUBLISHED_ON else []}


def as_text(result: dict, table=text_table, text=str) -> str:
    """Returns `ablation.as_text` with speeds, and the table of published results."""
    times = [result['latency'].get(name, {}) for name in result['variants']]
    columns = {'training images/s': [found['images_per_second'] for found in result['variants'].values()]}
    for header, key in {'one image, ms': 'latency_one', f'{latency.BATCH} images, ms': 'latency_batch'}.items():
        columns[header] = [1000 * taken[key] if taken else None for taken in times]
    remarks = [
        f'Training images/s: the median of the log, whatever else the machine did. Latency: from pixels to logits on '
        f'one device, medians of {latency.ROUNDS} rounds in turn; {result["cores"]} cores ({result["cpu"]}).'
    ]
    if result['published']:
        keys = {'name': 'published', 'parameters': 'parameters', 'macs': 'MACs', 'accuracy': 'accuracy, %'}
        keys |= {'source': 'source'}
        remarks += [
            'Published: test accuracies on the original CIFAR-10 by recipes of their own, not to be set beside ours '
            'as if they were of the same experiment.',
            table(list(keys.values()), [[row[key] for key in keys] for row in result['published']]),
        ]
    return ablation.as_text(result, table, text, columns, remarks)


def draw(result: dict) -> bytes:
    """Draws accuracy against parameters and MACs, as the content of a PNG file."""
    from dsconv.reporting.figures import png
    from dsconv.reporting.study_figures import costs_figure

    points = [
        found | {'name': name, 'accuracy': 100 * found['mean'], 'std': found['std'] and 100 * found['std']}
        for name, found in result['variants'].items()
        if found['runs']
    ]
    costs = {'parameters': 'parameters', 'macs': 'multiply-accumulates an image'}
    return png(costs_figure(points, result['published'], costs, result['title']))
