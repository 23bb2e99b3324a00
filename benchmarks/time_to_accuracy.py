"""Measures how long two recipes train until they reach a validation accuracy (DAWNBench, Coleman et al. 2017).

Each recipe is trained with several seeds, as ordinary runs in turn. A stopped run is resumed, a finished run is read.
Seconds are those of training, without compilation, evaluation and saving: a log line's images ÷ its images per second.
"""

import logging
import statistics
from pathlib import Path

from dsconv import config as configuration
from dsconv.config_checks import check, check_splits
from dsconv.errors import InputError, RunError
from dsconv.performance import machine
from dsconv.performance.timing import median_ratio
from dsconv.reporting import read_metrics, text_table
from dsconv.studies.cells import open_once, resolve_config, validation_fraction

BASELINE = 'configs/small.py'
SEEDS = (0, 1)
TARGETS = (65.0, 70.0, 75.0, 80.0)  # percent
WORKDIR = Path('runs', 'time-to-accuracy')


def measure(config, name: str, baseline=BASELINE, seeds=SEEDS, targets=TARGETS, workdir: Path = WORKDIR) -> dict:
    """Trains a loaded config, read from the file `name`, and `baseline`; returns when each run reached each target.

    `targets` are accuracies on the validation split in percent. The runs are in `workdir/<recipe>/seed-<seed>`.

    Returns the object that `--json` prints: settings, surroundings, `runs` (by recipe and seed, the results of
    `points_of` and `summary_of`) and `ratio` (by target, the median over the seeds of the baseline's seconds ÷ the
    config's, None if a run does not reach the target).

    Raises InputError if both recipes have the same name, or a config does not fit its data or its workdir; RunError if
    a run diverges or is too short to be timed.
    """
    from dsconv.training.loop import train

    recipes, logger = comparable(config, name, baseline), logging.getLogger('dsconv')
    for recipe, settings in recipes.items():  # checks both recipes before training the first
        try:
            check_splits(resolve_config(settings), open_once(settings.dataset).split_sizes)
        except InputError as error:
            raise InputError(f'{recipe}: {error}') from error
        for directory in (workdir / recipe / f'seed-{seed}' for seed in seeds):
            begun = configuration.load_run(directory).epochs if configuration.has_begun(directory) else settings.epochs
            if begun != settings.epochs:  # the run would be resumed with another schedule
                held = f'{directory} holds a run of epochs={begun}, not {settings.epochs}'
                raise InputError(f'{held}: use another --workdir')
    runs = {recipe: {} for recipe in recipes}
    for seed in seeds:  # recipes alternate, so that load on the machine slows both
        for recipe, settings in recipes.items():
            run = settings.copy_and_resolve_references()
            run.seed = seed
            directory = workdir / recipe / f'seed-{seed}'
            logger.info('%s', directory)
            if not train(run, directory):
                logger.info('trained before')
            points = points_of(read_metrics(directory), run.batch_size)
            runs[recipe][str(seed)] = {'points': points, **summary_of(points, targets)}
    ours, other = runs
    return {
        'recipes': {recipe: configuration.differences(configuration.defaults(), recipes[recipe]) for recipe in runs},
        'seeds': list(seeds),
        'targets': list(targets),
        **machine.surroundings(),
        'runs': runs,
        'ratio': {_percent(target): _ratio(runs[other], runs[ours], _percent(target)) for target in targets},
    }


def comparable(config, name: str, baseline: str) -> dict:
    """Returns recipe → config: both with the same data and epochs, scored on the validation split after every epoch.

    A baseline with more epochs is shortened, with a warm-up of at most a tenth of the run.
    """
    try:
        other = configuration.load(baseline)
    except InputError as error:
        raise InputError(str(error).replace('--config=', '--baseline=', 1)) from error
    names = [configuration.name_of(path) for path in (name, baseline)]
    if names[0] == names[1]:
        raise InputError(f'--baseline={baseline} has the same name as --config={name}: rename one of the files')
    ours = config.copy_and_resolve_references()
    ours.dataset.validation_fraction = validation_fraction(ours.dataset)
    ours = resolve_config(ours)  # otherwise, values chosen from the data would replace the baseline's values
    other.dataset.update(ours.dataset)
    if other.epochs > ours.epochs:
        other.schedule.warmup_epochs = min(other.schedule.warmup_epochs, ours.epochs / 10)
    other.epochs = ours.epochs
    check(other)
    for recipe in (ours, other):
        recipe.eval.update(every_epochs=1, final_split='validation', patience=None)
    return dict(zip(names, (ours, other), strict=True))


def points_of(lines: list[dict], batch_size: int) -> list[dict[str, float]]:
    """Returns `epoch`, `seconds` of training so far and `accuracy` (0 to 1) of each log line of the validation split.

    A training line without a rate, since it was all compilation, gets the median rate. Raises RunError if none has one.
    """
    trained = [line for line in lines if line['split'] == 'train']
    rates = [line['images_per_second'] for line in trained if 'images_per_second' in line]
    if not rates:
        raise RunError('the run is too short to be timed: set a smaller batch_size or steps_per_dispatch')
    points, seconds, step = [], 0.0, 0
    for line in lines:
        if line['split'] == 'train':
            images = (line['step'] - step) * batch_size
            seconds += images / line.get('images_per_second', statistics.median(rates))
            step = line['step']
        elif line['split'] == 'validation':
            points.append({'epoch': line['epoch'], 'seconds': seconds, 'accuracy': line['accuracy']})
    return points


def summary_of(points: list[dict[str, float]], targets) -> dict:
    """Returns `reached`, target → the first point that reached it or None, and `final_accuracy` (0 to 1)."""
    reached = {}
    for target in targets:
        reached[_percent(target)] = next((point for point in points if point['accuracy'] >= target / 100), None)
    return {'reached': reached, 'final_accuracy': points[-1]['accuracy']}


def _ratio(those, these, target):
    """Returns the median over the seeds of the seconds of `those` ÷ `these`, None if a run misses the target."""
    seconds = [[(run['reached'][target] or {}).get('seconds') for run in runs.values()] for runs in (those, these)]
    return None if None in seconds[0] + seconds[1] else median_ratio(*seconds)


def _percent(target: float) -> str:
    return f'{target:g} %'


def as_text(result: dict) -> str:
    ours, other = result['runs']
    columns = {f'{recipe}, seed {seed}': run for recipe, runs in result['runs'].items() for seed, run in runs.items()}
    rows = []
    for target, ratio in result['ratio'].items():
        rows.append([target, *(_moment(run['reached'][target]) for run in columns.values()), ratio])
    rows.append(['final accuracy', *(f'{100 * run["final_accuracy"]:.2f} %' for run in columns.values()), None])
    rows.append(['whole run', *(_moment(run['points'][-1]) for run in columns.values()), None])
    return (
        f'Seconds of training and epochs until each validation accuracy is reached; {result["devices"]}, '
        f'{result["cores"]} cores ({result["cpu"]}).\nThe ratio is the median over the seeds.\n\n'
        + text_table(['', *columns, f'{other} ÷ {ours}'], rows)
    )


def _moment(point: dict | None) -> str:
    return 'not reached' if point is None else f'{point["seconds"]:,.0f} s, {point["epoch"]:g} epochs'


def draw(result: dict) -> bytes:
    """Draws accuracy against seconds of training, one line per run; returns the content of a PNG file."""
    from matplotlib.figure import Figure

    from dsconv.reporting.figures import png

    figure = Figure(figsize=(6, 3.6), dpi=90, layout='constrained')
    axes = figure.subplots()
    for index, (recipe, runs) in enumerate(result['runs'].items()):
        for number, run in enumerate(runs.values()):
            seconds = [point['seconds'] for point in run['points']]
            accuracies = [100 * point['accuracy'] for point in run['points']]
            label = None if number else recipe  # the runs of a recipe look alike
            axes.plot(seconds, accuracies, f'C{index}o-', markersize=3.5, linewidth=1.2, label=label)
    for target in result['targets']:
        axes.axhline(target, color='0.6', linewidth=0.7, linestyle='--', zorder=0)
    axes.set(xlabel='seconds of training', ylabel='validation accuracy, %', xlim=(0, None))
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False, loc='lower right')
    return png(figure)
