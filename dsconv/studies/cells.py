"""The cells of a study: an ordinary run for each variant and seed, scored on the validation split."""

import dataclasses
import functools
import gc
import logging
import shlex
import statistics
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dsconv import config as configuration
from dsconv.config_checks import resolve
from dsconv.errors import InputError, RunError, log_traceback, shown
from dsconv.files import make_directory, read_if_there, replace_file
from dsconv.reporting import read_metrics
from dsconv.studies.study import GIVEN_BY_THE_STUDY, Study, overrides_by_variant, taken

logger = logging.getLogger('dsconv')
VALIDATION_FRACTION = 0.1  # if neither the data nor the config has a validation split
# Keys that may change when a run is resumed, although its speed or its result in a study depends on them.
OF_THE_RESULT = (
    'eval.recalibration_batches', 'steps_per_dispatch', 'accumulation_steps', 'dataset.on_device',
    'model.implementation', 'model.fold', 'model.depthwise_form', 'model.remat',
)  # fmt: skip


class Cell(NamedTuple):
    """One run of a study: its loaded config, its workdir `…/cells/<variant>/seed-<seed>`, the command that runs it."""

    variant: str
    seed: int
    config: object
    workdir: Path
    command: str

    @property
    def failure_file(self) -> Path:
        """The file that holds the error message of a failed cell."""
        return self.workdir.with_name(f'{self.workdir.name}.failed')


def make_cells(
    study: Study, path: str, overrides: list[str], seeds: tuple[int, ...], output: Path, folds: int | None = None
) -> list[Cell]:
    """Makes all cells, seed by seed, so that an interrupted study has complete seeds.

    `overrides` of the config file `path` come from the command line; a variant's overrides take precedence. Raises
    InputError if the config, alone or with a variant's overrides, is invalid, or if there is no data.
    `folds` is the number of cross-validation folds: seed s is validated on fold s modulo `folds`, plus 1.
    """
    for override in overrides:
        if (key := override.split('=')[0]) in GIVEN_BY_THE_STUDY:
            raise InputError(f'--config.{override}: {GIVEN_BY_THE_STUDY[key]}')
    fold_of = {seed: {'dataset.fold': f'{seed % folds + 1}/{folds}'} if folds else {} for seed in seeds}
    first_fold = [f'dataset.fold={folds}/{folds}'] if folds else []  # the smallest fold
    try:  # these errors do not come from a variant
        as_dsconv = 'model.name=dsconv'  # takes every key of `model`; the variants are checked below
        alone = taken(path, overrides, (as_dsconv,))  # other overrides may be for a variant
        validation_fraction(configuration.load(path, [*alone, as_dsconv, *first_fold]).dataset)
    except InputError as error:
        typed = f'--folds={folds} ' if folds else 'dataset.fold '
        raise InputError(str(error).replace('dataset.fold ', typed, 1)) from error
    settings = {}
    for name, own in overrides_by_variant(study, path, overrides).items():
        chosen = [*own, *study.variants[name]]
        try:
            dataset = configuration.load(path, [*chosen, *first_fold]).dataset
            fraction = validation_fraction(dataset)
        except InputError as error:
            raise InputError(f'{study.where}, variant {name}: {str(error).removeprefix("--config.")}') from error
        if fraction != dataset.validation_fraction:
            chosen.append(f'dataset.validation_fraction={fraction}')
        chosen += ['eval.final_split=validation', 'eval.patience=none']
        settings[name] = dict(override.split('=', 1) for override in chosen)
    cells = []
    for seed in seeds:
        for name, values in settings.items():
            own = [f'{key}={value}' for key, value in (values | fold_of[seed] | {'seed': seed}).items()]
            workdir = output / 'cells' / name / f'seed-{seed}'
            flags = [f'--config={path}', *(f'--config.{override}' for override in own), f'--workdir={workdir}']
            command = shlex.join(['python', '-m', 'dsconv.main', *flags])
            cells.append(Cell(name, seed, configuration.load(path, own), workdir, command))
    return cells


def train_cells(cells: list[Cell]) -> Iterator[Cell]:
    """Trains the unfinished cells; yields each cell after its attempt. A failed cell does not end the study."""
    for number, cell in enumerate(cells, 1):
        name = f'cell {number} of {len(cells)}, {cell.variant}, seed {cell.seed}'
        try:
            if is_finished(cell):
                logger.info('%s: finished before', name)
                continue
            logger.info('%s: %s', name, cell.workdir)
            cell.failure_file.unlink(missing_ok=True)
            _train(cell)
        except Exception as error:  # the other cells may still succeed
            line = next(iter(str(error).splitlines()), '')[:300]
            line = line if isinstance(error, (InputError, RunError)) else f'{type(error).__name__}: {line}'
            log_traceback(error)
            logger.error('%s failed: %s', name, line)
            make_directory(cell.workdir.parent)
            replace_file(cell.failure_file, line.encode(errors='backslashreplace'))
        yield cell


def _train(cell):
    import jax

    from dsconv.training.loop import train
    from dsconv.training.scoring import report_run
    from dsconv.training.setup import open_source

    try:
        source = open_source(cell.config, cell.workdir)
        train(cell.config, cell.workdir, source)
        report_run(cell.workdir, 'validation', 'latest', source=source)
    finally:
        jax.clear_caches()  # no other cell uses the compiled functions of this cell
        gc.collect()


def is_finished(cell: Cell) -> bool:
    """Returns whether training is complete and the report exists; raises InputError if the workdir has another run."""
    from dsconv.training.distillation import resolve_teachers
    from dsconv.training.run import PICTURES, check_workdir

    if not ((cell.workdir / 'config.json').exists() and configuration.has_begun(cell.workdir)):
        return False
    saved, config = configuration.load_run(cell.workdir), resolve_config(cell.config)
    for key in ('mean', 'std', 'fingerprint'):  # computing these would read all pixels
        config.dataset[key] = config.dataset[key] or saved.dataset[key]
    config.dataset.train_fingerprint = saved.dataset.train_fingerprint  # each run has its own value
    resolve_teachers(config.loss)
    if config.loss.class_weights == 'balanced':
        config.loss.class_weights = saved.loss.class_weights or 'balanced'
    table, kept = open_once(cell.config.dataset).table, read_if_there(cell.workdir / PICTURES)
    if table and kept is not None and kept[-8:] != table()[-8:]:  # CRC and length; the rest depends on zlib's version
        held = f'{cell.workdir} was started with other pictures, or with these divided in another way'
        raise InputError(f'{held}: restore them, or use another --output')
    if saved.epochs != config.epochs:
        why = 'because an extended run differs from one that was started with this length'
        held = f'{cell.workdir} holds a run of epochs={saved.epochs}, not {config.epochs}'
        raise InputError(f'{held}: use another --output, {why}')
    check_workdir(cell.workdir, config)
    scored = max((line['epoch'] for line in _validations(read_metrics(cell.workdir))), default=0)
    then, now = configuration.flatten(saved), configuration.flatten(config)
    for key in OF_THE_RESULT if scored >= config.epochs else ():
        if then[key] != now[key]:
            held = f'{cell.workdir} ended with {key}={shown(then[key])}, not {shown(now[key])}'
            raise InputError(f'{held}: use another --output')
    return scored >= config.epochs and (cell.workdir / 'report' / 'report.json').exists()  # `evaluate` writes it too


def _validations(lines):
    return [line for line in lines if line['split'] == 'validation']


def open_once(dataset):
    """Returns the source of a `dataset` section without images, cached because opening a folder decodes all images."""
    return _open(tuple(dataset.items()))


@functools.cache
def _open(dataset):
    from dsconv import data

    source = data.open_source(types.SimpleNamespace(**dict(dataset)))
    table = source.table and functools.cache(source.table)  # compared with the table of each cell
    return dataclasses.replace(source, own={}.get, table=table)  # without images: the cache holds every fold


def validation_fraction(dataset) -> float:
    """Returns `dataset.validation_fraction`, or `VALIDATION_FRACTION` if there is no validation split otherwise."""
    if dataset.validation_fraction or 'validation' in open_once(dataset).split_sizes:
        return dataset.validation_fraction
    return VALIDATION_FRACTION


def resolve_config(config):
    """Returns the config with the keys that depend on the data filled in, except those that need images or labels."""
    return resolve(config, open_once(config.dataset))


def read_outcome(cell: Cell) -> dict:
    """Returns the state of a cell as a JSON object.

    It holds `variant`, `seed`, `workdir`, `command` and `state`: 'finished', with `accuracy` (0 to 1) at the end of the
    run, `validation_images`, and `images_per_second` (median over the log) unless the run is too short to measure it;
    'failed', with `error`; or 'unfinished'.
    """
    facts = {'variant': cell.variant, 'seed': cell.seed, 'workdir': str(cell.workdir), 'command': cell.command}
    try:
        finished = is_finished(cell)
    except InputError as error:
        return facts | {'state': 'failed', 'error': str(error)}
    if not finished:
        reason = read_if_there(cell.failure_file)  # another shard may have removed it
        return facts | ({'state': 'unfinished'} if reason is None else {'state': 'failed', 'error': reason.decode()})
    # Not from the report: `evaluate` may have replaced it by a report on another split or checkpoint.
    lines = read_metrics(cell.workdir)
    facts |= {'state': 'finished', 'accuracy': _validations(lines)[-1]['accuracy']}
    facts['validation_images'] = open_once(cell.config.dataset).split_sizes['validation']
    if rates := [line['images_per_second'] for line in lines if 'images_per_second' in line]:
        facts['images_per_second'] = statistics.median(rates)
    return facts
