"""Scores an exported file like a run, but with the runtime of the file instead of JAX."""

from pathlib import Path

import numpy as np

from dsconv import data
from dsconv.config import defaults, leave_out_unread
from dsconv.data.unlabelled import BATCH_SIZE
from dsconv.exported import open_exported
from dsconv.process import command_line
from dsconv.reporting import write_report
from dsconv.reporting.scores import with_temperature
from dsconv.training.examples import OF_PUBLIC, other_examples, own_examples, say_where, write_predictions

OF_IMAGES = ('image_size', 'channels', 'resize')


def report_exported(
    file: Path,
    output: Path,
    dataset: str | None,
    split: str | None,
    drawn_examples: int,
    predictions: bool,
    where: list[str] = (),
) -> dict:
    """Scores a split with a .tflite or .onnx file, writes the report (`reporting.write_report`) and returns it.

    `output` is the directory of the report. The other arguments are as in `training.scoring.report_run`. Raises
    InputError if the file is damaged or the data is missing.
    """
    network = open_exported(file)
    facts = network.metadata
    config = defaults()
    config.dataset.update({**facts['dataset'], **{key: facts[key] for key in OF_IMAGES}})
    config.dataset.class_names = network.class_names
    if dataset:
        scored = other_examples(config, dataset, split, where)
    else:
        say_where(config, where, OF_PUBLIC)
        leave_out_unread(config, [each.partition('=')[0] for each in where])
        scored = own_examples(config, data.open_source(config.dataset), split)
    batches = scored.images.in_order(BATCH_SIZE, slice(None))
    probabilities = np.concatenate([network.run(images) for images, _ in batches])
    probabilities[~probabilities.any(1)] = 1 / len(network.class_names)  # with 8 bits, all may round to 0
    with np.errstate(divide='ignore'):  # an 8-bit probability may be 0
        log_probabilities = np.log(probabilities)
    if predictions:
        write_predictions(output, scored, network.class_names, log_probabilities)
    if temperature := facts['temperature']:  # undone here, because the report applies it again
        log_probabilities = with_temperature(log_probabilities, 1 / temperature['temperature'])
        temperature = temperature | {'in_sample': not dataset and scored.split == temperature['split']}
    return write_report(
        output,
        **scored.for_report(),
        log_probabilities=log_probabilities,
        class_names=network.class_names,
        checkpoint_step=facts['checkpoint_step'],
        parameters=facts['parameters'],
        metrics=[],
        command=command_line(),
        title=facts['title'],
        examples=drawn_examples,
        temperature=temperature,
    )
