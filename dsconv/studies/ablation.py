"""The result of an ablation from its finished cells: JSON, table and figure."""

import statistics

from dsconv.errors import InputError
from dsconv.reporting import text_table
from dsconv.studies.cells import Cell, read_outcome, resolve_config
from dsconv.studies.statistics import paired_difference, sentence, signed, spread, standard_error
from dsconv.studies.study import Study


def summarise(study: Study, cells: list[Cell]) -> dict:
    """Returns the content of `study.json`.

    It holds `study`, `title`, `seeds`, `dataset`, `folds` (their number, None if all runs have the same fold or none),
    `validation_images` (the smallest number of a run) and `standard_error` (the largest of an accuracy), both None
    until a run is finished; `sentence`; `variants`: name → the results of `spread` and `paired_difference`, the numbers
    of `failed` and `unfinished` runs, `images_per_second` (the median over runs), `parameters` and `macs` (None if the
    network does not fit the data); and `cells`, the results of `read_outcome`.
    """
    outcomes = [read_outcome(cell) for cell in cells]
    by_variant = {name: [one for one in outcomes if one['variant'] == name] for name in study.variants}
    accuracies = {
        name: {one['seed']: one['accuracy'] for one in found if 'accuracy' in one} for name, found in by_variant.items()
    }
    folds = {cell.config.dataset.fold for cell in cells}  # only one if the config sets the fold
    folds = int(folds.pop().partition('/')[2]) if len(folds) > 1 else None
    fraction = min(cell.config.dataset.train_fraction for cell in cells)
    overlap = 1 / ((folds - 1) * fraction) if folds else 0.0
    first, variants = next(iter(accuracies.values())), {}
    for name, found in by_variant.items():
        states = [one['state'] for one in found]
        rates = [one['images_per_second'] for one in found if 'images_per_second' in one]
        variants[name] = {
            **spread(accuracies[name], overlap),
            **paired_difference(accuracies[name], first, overlap),
            'failed': states.count('failed'),
            'unfinished': states.count('unfinished'),
            'images_per_second': statistics.median(rates) if rates else None,
            **_cost(next(cell.config for cell in cells if cell.variant == name)),
        }
    scored = [one for one in outcomes if 'accuracy' in one]
    errors = [standard_error(variants[one['variant']]['mean'], one['validation_images']) for one in scored]
    return {
        'study': study.name,
        'title': study.title,
        'dataset': cells[0].config.dataset.name,
        'seeds': sorted({cell.seed for cell in cells}),
        'folds': folds,
        'validation_images': min((one['validation_images'] for one in scored), default=None),
        'standard_error': max(errors, default=None),
        'sentence': sentence(variants),
        'variants': variants,
        'cells': outcomes,
    }


def _cost(config) -> dict:
    from dsconv.models.complexity import layer_costs
    from dsconv.training.network import build_network, image_shape

    try:
        config = resolve_config(config)
        rows = layer_costs(build_network(config), image_shape(config))
    except InputError:
        return {'parameters': None, 'macs': None}
    return {key: sum(getattr(row, key) for row in rows) for key in ('parameters', 'macs')}


def as_text(result: dict, table=text_table, text=str, columns: dict[str, list] | None = None, remarks=()) -> str:
    """Formats title, table, sentence, how to read the numbers, failures and `remarks`.

    `table` and `text` set the form, e.g. Markdown. `columns`, header → a value per variant, are added to the table.
    """
    columns, rows, first = columns or {}, [], next(iter(result['variants']))
    for number, (name, found) in enumerate(result['variants'].items()):
        mean = f'{100 * found["mean"]:.2f}' if found['runs'] else None
        if found['std'] is not None:
            mean += f' ± {100 * found["std"]:.2f}'
        is_compared = number and found['difference'] is not None
        difference = signed(found['difference']) if is_compared else None
        interval = ' to '.join(map(signed, found['interval'])) if is_compared and found['interval'] else None
        cost = [found['parameters'], found['macs']]
        rows.append(
            [name, *cost, found['runs'], mean, difference, interval, *(own[number] for own in columns.values())]
        )
    header = ['', 'parameters', 'MACs', 'runs', 'accuracy, %', f'against {first}', '95 % interval', *columns]
    blocks = [text(result['title']), table(header, rows), result['sentence']]
    folds, limit = '', 'The intervals show the effect of other seeds, not of other images. '
    if result['folds']:
        folds, limit = f', one of {result["folds"]} folds for each seed', ''
    if result['validation_images']:
        counts = sorted({one['validation_images'] for one in result['cells'] if 'accuracy' in one})
        span = ' to '.join(f'{count:,}' for count in dict.fromkeys((counts[0], counts[-1])))
        blocks.append(
            f'Accuracy on {span} validation images at the end of a run'
            f'{folds}: mean ± standard deviation over seeds. The number of images alone gives each run a standard '
            f'error of up to {100 * result["standard_error"]:.2f} points. {limit}Differences are of runs with the '
            f'same seed; the intervals are not corrected for multiple comparisons: about one in twenty excludes 0 by '
            f'chance.'
        )
    failed = [one for one in result['cells'] if one['state'] == 'failed']
    lines = [f'- failed: {one["variant"]}, seed {one["seed"]}: {text(one["error"])}' for one in failed]
    return '\n\n'.join([*blocks, *(['\n'.join(lines)] if lines else []), *remarks])


def draw(result: dict) -> bytes:
    """Draws accuracies and differences; returns the content of a PNG file."""
    from dsconv.reporting.figures import png
    from dsconv.reporting.study_figures import variants_figure

    finished = [one for one in result['cells'] if one['state'] == 'finished']
    by_variant = {
        name: [100 * one['accuracy'] for one in finished if one['variant'] == name] for name in result['variants']
    }
    intervals = {
        name: [100 * end for end in found['interval'] or [found['difference']] * 2]
        for name, found in result['variants'].items()
        if found['difference'] is not None
    }
    return png(variants_figure(by_variant, intervals, result['title']))
