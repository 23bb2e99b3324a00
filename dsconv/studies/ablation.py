"""The result of an ablation, from the cells that are finished: JSON, table and picture."""

import functools
import statistics

from dsconv.errors import InputError
from dsconv.reporting import text_table
from dsconv.studies.cells import Cell, read_outcome, resolve_config
from dsconv.studies.statistics import paired_difference, sentence, signed, spread, standard_error
from dsconv.studies.study import Study


def summarise(study: Study, cells: list[Cell]) -> dict:
    """Returns the content of `study.json`.

    Returns:
      `study`, `title`, `seeds`, `dataset`, `validation_images` and `standard_error` (of one run's accuracy on so
      many images; None before a run is finished), `sentence`, `variants`: name → `spread`'s and
      `paired_difference`'s results, `failed` and `unfinished` runs, `images_per_second` (the median of the runs'),
      `parameters` and `macs` (None where the network does not fit the data); and `cells`, `read_outcome`'s results.
    """
    outcomes = [read_outcome(cell) for cell in cells]
    accuracies = {
        name: {one['seed']: one['accuracy'] for one in outcomes if one['variant'] == name and 'accuracy' in one}
        for name in study.variants
    }
    first = next(iter(study.variants))
    variants = {
        name: {
            **spread(accuracies[name]),
            **paired_difference(accuracies[name], accuracies[first]),
            **{state: _count(outcomes, name, state) for state in ('failed', 'unfinished')},
            'images_per_second': _rate(outcomes, name),
            **_cost(next(cell.config for cell in cells if cell.variant == name)),
        }
        for name in study.variants
    }
    images = next((one['validation_images'] for one in outcomes if 'accuracy' in one), None)
    errors = [standard_error(found['mean'], images) for found in variants.values() if found['runs']]
    return {
        'study': study.name,
        'title': study.title,
        'dataset': cells[0].config.dataset.name,
        'seeds': sorted({cell.seed for cell in cells}),
        'validation_images': images,
        'standard_error': max(errors, default=None),
        'sentence': sentence(variants),
        'variants': variants,
        'cells': outcomes,
    }


def _count(outcomes, variant, state):
    return sum(one['variant'] == variant and one['state'] == state for one in outcomes)


def _rate(outcomes, variant):
    rates = [one['images_per_second'] for one in outcomes if one['variant'] == variant and 'images_per_second' in one]
    return statistics.median(rates) if rates else None


def _cost(config) -> dict:
    from dsconv.training.setup import build_network, image_shape

    try:
        config = resolve_config(config)
        return _cost_of(build_network(config), image_shape(config))
    except InputError:
        return {'parameters': None, 'macs': None}


@functools.cache  # the result is made again after each run
def _cost_of(network, shape) -> dict:
    from dsconv.models.complexity import layer_costs

    rows = layer_costs(network, shape)
    return {'parameters': sum(row.parameters for row in rows), 'macs': sum(row.macs for row in rows)}


def as_text(result: dict, table=text_table, text=str) -> str:
    """Returns the title, the table, the sentence and the failures; with `markdown_table` and `plain` as Markdown."""
    first = next(iter(result['variants']))
    header = ['', 'runs', 'accuracy, %', f'against {first}', '95 % interval', 'parameters', 'MACs']
    rows = [
        [name, *accuracy_cells(found, is_first=name == first), found['parameters'], found['macs']]
        for name, found in result['variants'].items()
    ]
    return '\n\n'.join([text(result['title']), table(header, rows), *remarks(result, text)])


def accuracy_cells(found: dict, is_first: bool) -> list:
    """Returns the table cells of a variant: runs, mean ± deviation, difference from the first, and its interval."""
    mean = f'{100 * found["mean"]:.2f}' if found['runs'] else None
    if found['std'] is not None:
        mean += f' ± {100 * found["std"]:.2f}'
    if is_first or found['difference'] is None:
        return [found['runs'], mean, None, None]
    interval = found['interval'] and ' to '.join(map(signed, found['interval']))
    return [found['runs'], mean, signed(found['difference']), interval]


def remarks(result: dict, text=str) -> list[str]:
    """Returns the sentence, how to read the numbers, and the failures."""
    blocks = [result['sentence']]
    if result['validation_images']:
        blocks.append(
            f'Accuracy on {result["validation_images"]:,} validation images at the end of a run: mean ± standard '
            f'deviation over seeds. So few images alone leave a standard error of up to '
            f'{100 * result["standard_error"]:.2f} points to each run. Differences are of runs with the same seed; '
            f'each interval stands by itself: of twenty, one excludes 0 by chance.'
        )
    if failed := [one for one in result['cells'] if one['state'] == 'failed']:
        lines = (f'- failed: {one["variant"]}, seed {one["seed"]}: {text(one["error"])}' for one in failed)
        blocks.append('\n'.join(lines))
    return blocks


def draw(result: dict) -> bytes:
    """Returns the picture of accuracies and differences as the content of a PNG file."""
    from dsconv.reporting.figures import png
    from dsconv.reporting.study_figures import variants_figure

    by_variant = {name: [] for name in result['variants']}
    for one in result['cells']:
        if one['state'] == 'finished':
            by_variant[one['variant']].append(100 * one['accuracy'])
    intervals = {
        name: [100 * end for end in found['interval'] or [found['difference']] * 2]
        for name, found in result['variants'].items()
        if found['difference'] is not None
    }
    return png(variants_figure(by_variant, intervals, result['title']))
