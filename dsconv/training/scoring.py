"""Scores a trained run: restores a checkpoint, predicts a whole split, writes the report."""

from pathlib import Path

import jax

from dsconv import config as configuration
from dsconv import data
from dsconv.errors import InputError
from dsconv.process import command_line
from dsconv.reporting import read_metrics, write_report
from dsconv.reporting.page import read_report
from dsconv.reporting.scores import with_temperature
from dsconv.training.calibration import fit_temperature, read_temperature, save_temperature
from dsconv.training.checksums import identity
from dsconv.training.evaluation import Evaluator
from dsconv.training.examples import (
    OF_ITS_PLACE,
    OF_PUBLIC,
    drawn_otherwise,
    other_examples,
    own_examples,
    say_where,
    write_predictions,
)
from dsconv.training.network import count_parameters, default_step, restore_network
from dsconv.training.robustness import robustness
from dsconv.training.run import is_published
from dsconv.training.setup import open_source


def own_report(workdir: Path, split: str) -> dict | None:
    """Returns the report in `workdir/report`, or None unless it is of `split` and the default checkpoint."""
    step, report = default_step(workdir), read_report(workdir)
    return report if report and (report['split'], report['checkpoint_step']) == (split, step) else None


def report_run(
    workdir: Path,
    split: str | None = None,
    which: str | None = None,
    output: Path | None = None,
    corrupted: bool = False,
    drawn_examples: int = 0,
    source: data.Source | None = None,
    calibrate: bool = False,
    dataset: str | None = None,
    predictions: bool = False,
    where: list[str] = (),
    tta: bool = False,
) -> dict:
    """Scores a split with a checkpoint of a run, writes the report (`reporting.write_report`) and returns it.

    Args:
      split: 'test', 'validation' or 'train'; None for the test split, or for validation if there is no test split.
      which: as in `restore_network`.
      output: directory of the report; `workdir/report` by default.
      corrupted: also scores the split under every corruption (`robustness`).
      drawn_examples: number of examples, chosen with a fixed seed, whose predictions are drawn.
      source: the run's dataset, if it is already open.
      calibrate: fits the checkpoint's temperature on the validation split and saves it.
      dataset: other data to score instead of the run's data, as `name` in `other_examples`.
      predictions: also writes `predictions.csv`, with one row per example.
      where: `'dataset.key=value'` overrides for the location of the data, as in `say_where`.
      tta: averages the logits over the `views` of an image.

    Returns {} in all processes except process 0. Raises InputError if the run, checkpoint or split does not exist.
    """
    config = configuration.load_run(workdir)
    network, variables, step = restore_network(workdir, config, which)
    if dataset:
        scored = other_examples(config, dataset, split, where)
    else:
        say_where(config, where, OF_PUBLIC if is_published(workdir) else OF_ITS_PLACE)
        source = source or open_source(config, workdir)
        scored = own_examples(config, source, split)
    evaluator = Evaluator(config, network, tta=tta)
    if calibrate:  # the old temperature is not read: a damaged file is replaced
        validation = source.load('validation')
        if fault := drawn_otherwise(config, source, 'validation'):
            raise InputError(f'{fault}: use the data of the run, or leave --calibrate out')
        fitted = fit_temperature(validation.labels, evaluator.log_probabilities(variables, validation))
        temperature = {'temperature': fitted, 'split': 'validation', 'examples': validation.num_examples}
        if jax.process_index() == 0:
            save_temperature(workdir, step, temperature)
    else:
        temperature = read_temperature(workdir, step)
    if temperature:
        temperature = temperature | {'in_sample': not dataset and scored.split == temperature['split']}
    under = robustness(evaluator, variables, config, scored.split, scored.images) if corrupted else None
    log_probabilities = evaluator.log_probabilities(variables, scored.images)
    if jax.process_index():
        return {}
    output = output or workdir / 'report'
    if predictions:
        scaled = with_temperature(log_probabilities, temperature['temperature'] if temperature else 1.0)
        write_predictions(output, scored, config.dataset.class_names, scaled)
    return write_report(
        output,
        **scored.for_report(),
        log_probabilities=log_probabilities,
        class_names=config.dataset.class_names,
        checkpoint_step=step,
        parameters=count_parameters(variables),
        metrics=read_metrics(workdir),
        command=command_line(),
        title=f'{config.model.name} on {config.dataset.name}',
        robustness=under,
        examples=drawn_examples,
        temperature=temperature,
        tta=tta,
        network=identity(workdir / 'checkpoints' / str(step)),
    )
