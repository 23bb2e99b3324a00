"""Writes the report of an evaluation: scores as JSON, a page of Markdown, and pictures."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dsconv.errors import InputError, RunError
from dsconv.files import make_directory, replace_file, to_path
from dsconv.reporting.markdown import code_block, paragraphs, plain, plain_table
from dsconv.reporting.scores import scores, with_temperature
from dsconv.reporting.sections import headline, percent, sections

PICTURES = ('confusion_matrix.png', 'curves.png', 'mistakes.png', 'reliability.png', 'corruptions.png', 'examples.png')
EXAMPLES_SEED = 0  # selects the examples in examples.png


def write_report(
    output: str | Path,
    *,
    dataset: str,
    split: str,
    labels: np.ndarray,
    log_probabilities: np.ndarray,
    class_names: Sequence[str],
    mistake_images: Callable[[np.ndarray], np.ndarray],
    checkpoint_step: int,
    parameters: int,
    metrics: list[dict],
    command: str,
    title: str,
    robustness: dict | None = None,
    data_fingerprint: str | None = None,
    examples: int = 0,
    temperature: dict | None = None,
    network: str | None = None,
    tta: bool = False,
) -> dict:
    """Writes report.json, report.md and the pictures into `output` and returns the content of report.json.

    Files of an earlier report are replaced atomically, one by one, report.json last.

    Args:
      labels: (N,) integers in [0, C), N >= 1.
      log_probabilities: (N, C) float32, natural logarithms (-inf allowed); row n belongs to labels[n].
      class_names: C different names. A class without examples is listed with support 0.
      mistake_images: indices (n,) into `labels` → uint8 pictures (n, H, W, 1 or 3).
      metrics: the lines of metrics.jsonl for the curves; [] for a report without curves.
      robustness: the result of `training.robustness`, or None if it was not measured.
      data_fingerprint: SHA-256 of the examples (`data.fingerprint`), or None if it is unknown.
      examples: number of examples, drawn with EXAMPLES_SEED, to show with their predictions in examples.png.
      temperature: the result of `training.calibration`, whose temperature first divides `log_probabilities`, or None.
      network: identifies the checkpoint among others of the same step (`training.checksums.identity`).
      tta: whether `log_probabilities` are means over several views of an image.

    Raises InputError for a split without examples, RunError for log-probabilities that are NaN (the model diverged).
    """
    labels, log_probabilities = np.asarray(labels), np.asarray(log_probabilities)
    if not len(labels):
        raise InputError(f'The split {split!r} has no examples: there is nothing to report.')
    if np.isnan(log_probabilities).any():
        raise RunError('The model predicts NaN: its training diverged. Evaluate an earlier checkpoint.')
    calibration = None
    if temperature:
        raw = scores(labels, log_probabilities, class_names)
        calibration = temperature | {'ece_before': raw['ece'], 'loss_before': raw['loss']}
        log_probabilities = with_temperature(log_probabilities, temperature['temperature'])
    optional = {'network': network, 'data_fingerprint': data_fingerprint, 'robustness': robustness, 'tta': tta or None}
    optional |= {'drawn_examples': examples or None}  # `dsconv.report --robustness` draws them again
    report = {
        'dataset': dataset,
        'split': split,
        'checkpoint_step': checkpoint_step,
        'parameters': parameters,
        'command': command,
        **scores(labels, log_probabilities, class_names),
        'calibration': calibration,
        **{key: value for key, value in optional.items() if value is not None},
    }
    pictures = _draw(report, labels, log_probabilities, mistake_images, metrics, examples)

    output = to_path(output)
    make_directory(output)
    for name, content in pictures.items():
        replace_file(output / name, content)
    page = [f'# {plain(title)}', code_block(command), plain_table(['', 'value'], headline(report))]
    for section in sections(report, list(pictures)):
        page += paragraphs(section)
    replace_file(output / 'report.md', ('\n\n'.join(page) + '\n').encode(errors='backslashreplace'))
    for name in set(PICTURES) - set(pictures):
        (output / name).unlink(missing_ok=True)
    # One key per line: `indent` would put each number of the confusion matrix on a separate line.
    values = {key: json.dumps(value, ensure_ascii=False, allow_nan=False) for key, value in report.items()}
    text = '{\n' + ',\n'.join(f'  "{key}": {value}' for key, value in values.items()) + '\n}\n'
    replace_file(output / 'report.json', text.encode(errors='backslashreplace'))
    return report


def _draw(report: dict, labels, log_probabilities, mistake_images, metrics, examples) -> dict[str, bytes]:
    """Returns the pictures of a report: file name → PNG."""
    from dsconv.reporting import figures

    predictions, confidence = log_probabilities.argmax(axis=1), log_probabilities.max(axis=1)  # a logarithm
    wrong = np.flatnonzero(predictions != labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind='stable')][: figures.MISTAKES]

    counts, class_names = np.array(report['confusion_matrix']), report['class_names']
    caption = f'{report["split"]}: {len(labels):,} examples, accuracy {percent(report["accuracy"])}'
    pictures = {
        'confusion_matrix.png': figures.confusion_matrix(counts, class_names, caption),
        'reliability.png': figures.reliability(np.exp(confidence), predictions == labels),
    }
    if metrics:
        pictures['curves.png'] = figures.curves(metrics)
    drawn = np.random.default_rng(EXAMPLES_SEED).choice(len(labels), min(examples, len(labels)), replace=False)
    for name, indices, columns in (('mistakes.png', wrong, 5), ('examples.png', drawn, 8)):
        if len(indices):
            captions = [
                figures.prediction_caption(class_names[labels[i]], class_names[predictions[i]], math.exp(confidence[i]))
                for i in indices
            ]
            is_right = () if name == 'mistakes.png' else labels[indices] == predictions[indices]
            pictures[name] = figures.predictions(mistake_images(indices), captions, is_right, columns)
    if 'robustness' in report:
        pictures['corruptions.png'] = figures.corruptions(report['robustness']['accuracy'], report['accuracy'])
    return {name: figures.png(figure) for name, figure in pictures.items()}
