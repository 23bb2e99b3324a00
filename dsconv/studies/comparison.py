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
    return {
        'latency': latency.measure(configs),
        'cores': machine.cores(),
        'cpu': machine.cpu_model(),
        'versions': machine.versions(PACKAGES),
    }


def summarise(study: Study, cells: list[Cell]) -> dict:
    """Returns `ablation.summarise`'s result and `published`: others' results for these networks, on CIFAR-10 alone."""
    result = ablation.summarise(study, cells)
    figures = tomllib.loads(PUBLISHED.read_text(encoding='utf-8'))['figures']
    fitting = [figure for figure in figures if figure['model'] in study.variants]
    return result | {'published': fitting if result['dataset'] == PUBLISHED_ON else []}


def as_text(result: dict, table=text_table, text=str) -> str:
    """Returns the tables of our and of published results, the sentence and the failures; arguments as in `ablation`."""
    blocks = [result['title'], table(*_columns(result)), *ablation.remarks(result, text), _about_speed(result)]
    if result['published']:
        rows = [
            [row['name'], row['parameters'], row['macs'], row['accuracy'], row['source']] for row in result['published']
        ]
        blocks += [
            'Published: test accuracies on the original CIFAR-10 by recipes of their own, not to be set beside ours '
            'as if they were of the same experiment.',
            table(['published', 'parameters', 'MACs', 'accuracy, %', 'source'], rows),
        ]
    return '\n\n'.join(blocks)


def _columns(result):
    header = ['', 'parameters', 'MACs', 'runs', 'accuracy, %', 'against the first', '95 % interval']
    header += ['training images/s', 'one image, ms', f'{latency.BATCH} images, ms']
    first, rows = next(iter(result['variants'])), []
    for name, found in result['variants'].items():
        times = result['latency'].get(name)
        rows.append(
            [
                name,
                found['parameters'],
                found['macs'],
                *ablation.accuracy_cells(found, is_first=name == first),
                found['images_per_second'],
                *(1000 * times[key] if times else None for key in ('latency_one', 'latency_batch')),
            ]
        )
    return header, rows


def _about_speed(result):
    return (
        f'Training images/s: the median of the log, whatever else the machine did. Latency: from pixels to logits on '
        f'one device, medians of {latency.ROUNDS} rounds in turn; {result["cores"]} cores ({result["cpu"]}).'
    )


def draw(result: dict) -> bytes:
    """Returns the picture of accuracy against parameters and MACs as the content of a PNG file."""
    from dsconv.reporting.figures import png
    from dsconv.reporting.study_figures import costs_figure

    points = [
        found | {'name': name, 'accuracy': 100 * found['mean'], 'std': found['std'] and 100 * found['std']}
        for name, found in result['variants'].items()
        if found['runs']
    ]
    costs = {'parameters': 'parameters', 'macs': 'multiply-accumulates an image'}
    return png(costs_figure(points, result['published'], costs, result['title']))
