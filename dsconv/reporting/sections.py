"""The headline and the sections of a report page, for both Markdown and HTML. Nothing is escaped here."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dsconv.errors import on_one_line
from dsconv.reporting.scores import BINS
from dsconv.reporting.tables import text_table

CONFUSED_PAIRS = 10


class Section(NamedTuple):
    """A titled part of a page; empty fields are left out.

    The fields are the file name of a `picture`, its `caption`, preformatted `code`, a paragraph of `text`, and a
    `table`, (header, rows).
    """

    title: str
    picture: str = ''
    caption: str = ''
    code: str = ''
    text: str = ''
    table: tuple | None = None


def percent(fraction: float, digits: int = 2) -> str:
    """Formats a fraction: 0.9812 → '98.12 %'."""
    return f'{fraction:.{digits}%}'.replace('%', ' %')


def loss(report: dict) -> str:
    """Returns the loss as text; None in a report stands for infinity, which JSON does not have."""
    return 'infinite' if report['loss'] is None else f'{report["loss"]:.4f}'


def top5(report: dict) -> str | None:
    """Returns the top-5 accuracy as text, or None for five or fewer classes, for which it is always 1."""
    return percent(report['top5_accuracy']) if len(report['class_names']) > 5 else None


def mean_robust(report: dict) -> str | None:
    """Returns the mean accuracy under corruptions as text, or None if it was not measured."""
    return percent(report['robustness']['mean_accuracy']) if 'robustness' in report else None


def worst_class(report: dict) -> str:
    worst = report['worst_class']
    return f'{percent(worst["recall"])} ({worst["name"]})'


def headline(report: dict) -> list[tuple[str, str]]:
    """Returns the rows (name, value) of the table at the top of a report."""
    uncalibrated, calibration = '', report['calibration']
    temperature = 'none: it is fitted on a validation split, at the end of a run or by evaluate --calibrate'
    if calibration:
        uncalibrated = f' ({percent(calibration["ece_before"])} without the temperature)'
        images = f'{calibration["examples"]:,} images of {calibration["split"]}'
        if calibration.get('in_sample'):
            images += ', which are also scored here: this calibration error is likely too low'
        temperature = f'{calibration["temperature"]:.4f}, fitted on {images}'
    rows = [
        ('dataset', report['dataset']),
        ('data fingerprint', report.get('data_fingerprint')),
        ('split', report['split']),
        ('examples', f'{report["num_examples"]:,}'),
        ('accuracy', percent(report['accuracy'])),
        ('balanced accuracy', percent(report['balanced_accuracy'])),
        ('top-5 accuracy', top5(report)),
        ('recall of the worst class', worst_class(report)),
        ('loss (cross-entropy, nats)', loss(report)),
        (f'calibration error (ECE, {BINS} bins)', percent(report['ece']) + uncalibrated),
        ('temperature', temperature),
        ('test-time augmentation', 'yes' if report.get('tta') else None),
        ('mean accuracy under corruptions', mean_robust(report)),
        ('macro F1', f'{report["macro_average"]["f1"]:.4f}'),
        ('checkpoint', f'step {report["checkpoint_step"]:,}'),
        ('parameters', f'{report["parameters"]:,}'),
    ]
    return [(name, value) for name, value in rows if value is not None]


def sections(report: dict, pictures: Sequence[str]) -> list[Section]:
    """Returns the non-empty sections below the headline; `pictures` are the names of existing PNG files."""
    found = [
        Section('Training', 'curves.png', 'Loss, accuracy and learning rate by epoch'),
        Section('Classes', code=_classification_report(report), **_confused_pairs(report)),
        Section('Confusion matrix', 'confusion_matrix.png', 'Confusion matrix'),
        Section('Examples', 'examples.png', 'Examples drawn at random with their predictions, mistakes in red'),
        Section('Most confident mistakes', 'mistakes.png', 'Pictures that were taken for another class'),
        Section('Calibration', 'reliability.png', 'Share of right predictions, by confidence', **_thresholds(report)),
        Section('Corruptions', 'corruptions.png', 'Accuracy by corruption and severity', **_robustness(report)),
    ]
    found = [section if section.picture in pictures else section._replace(picture='') for section in found]
    return [section for section in found if section.picture or section.code or section.table]


def _classification_report(report: dict) -> str:
    """Returns precision, recall and F1 by class, and averages; a class without examples has only a precision."""
    averages = {'macro average': report['macro_average'], 'weighted average': report['weighted_average']}
    rows = []
    for name, row in [*report['per_class'].items(), *averages.items()]:
        known = {'precision': row['precision'], **({key: row[key] for key in ('recall', 'f1') if row['support']})}
        shares = [f'{known[key]:.4f}' if key in known else '–' for key in ('precision', 'recall', 'f1')]
        rows.append([on_one_line(name), *shares, row['support']])
    return text_table(['', 'precision', 'recall', 'F1', 'examples'], rows)


def _confused_pairs(report: dict) -> dict:
    """Returns the most frequent errors, in descending order."""
    errors, names = np.array(report['confusion_matrix']), report['class_names']
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind='stable')[:CONFUSED_PAIRS]
    pairs = zip(*np.unravel_index(order, errors.shape), strict=True)
    rows = [
        (f'{names[row]} → {names[column]}', int(errors[row, column])) for row, column in pairs if errors[row, column]
    ]
    return {'text': 'Most confused classes:', 'table': (['true → predicted', 'count'], rows)} if rows else {}


def _thresholds(report: dict) -> dict:
    """Returns the share of predictions that reach each threshold, and their accuracy."""
    rows = []
    for row in report['thresholds']:
        accuracy = None if row['accuracy'] is None else percent(row['accuracy'])
        rows.append((percent(row['threshold'], 0), percent(row['coverage']), accuracy))
    command = f'predict {"--tta " if report.get("tta") else ""}--threshold'
    text = f'Share of pictures that {command} classifies, and the accuracy on them:'
    return {'text': text, 'table': (['threshold', 'classified', 'accuracy on these'], rows)} if rows else {}


def _robustness(report: dict) -> dict:
    """Returns the accuracy under every corruption, and the source of the corruptions."""
    if 'robustness' not in report:
        return {}
    accuracy, rows = report['robustness']['accuracy'], []
    for name, severities in accuracy.items():
        rows.append([name.replace('_', ' '), *map(percent, severities), percent(np.mean(severities))])
    severities = range(1, 1 + len(next(iter(accuracy.values()))))
    means = f'Without corruption {percent(report["accuracy"])}, mean over all corruptions {mean_robust(report)}.'
    return {
        'text': f'{means} Corruptions: {report["robustness"]["source"]}.',
        'table': (['severity', *map(str, severities), 'mean'], rows),
    }
