"""A report as sections of Markdown, for GitHub and for the page of several runs."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from dsconv.reporting.calibration import BINS
from dsconv.reporting.table import markdown_table

CONFUSED_PAIRS = 10
ENTITIES = {'&': '&amp;', '<': '&lt;', '>': '&gt;', '~': '&#126;'}


def plain(text) -> str:
    """Text in which nothing is markup, on one line; a vertical bar is left to `markdown_table`."""
    escaped = re.sub(r'[\\`*_\[\]]', r'\\\g<0>', ' '.join(str(text).split()))
    return re.sub('[&<>~]', lambda found: ENTITIES[found[0]], escaped)


def percent(fraction: float) -> str:
    """0.9812 → '98.12 %'."""
    return f'{fraction:.2%}'.replace('%', ' %')


def headline(report: dict) -> list[tuple[str, str]]:
    """What one wants to know first, as rows of a table."""
    worst = report['worst_class']
    rows = [
        ('dataset', plain(report['dataset'])),
        ('split', report['split']),
        ('examples', f'{report["num_examples"]:,}'),
        ('accuracy', percent(report['accuracy'])),
        ('top-5 accuracy', top5(report)),
        ('worst class', f'{plain(worst["name"])}: {percent(worst["recall"])} recognised'),
        ('loss (cross-entropy, nats)', loss(report)),
        (f'calibration error (ECE, {BINS} bins)', percent(report['ece'])),
        ('mean accuracy under corruptions', mean_robust(report)),
        ('macro F1', f'{report["macro_average"]["f1"]:.4f}'),
        ('checkpoint', f'step {report["checkpoint_step"]:,}'),
        ('parameters', f'{report["parameters"]:,}'),
    ]
    return [(name, value) for name, value in rows if value is not None]


def loss(report: dict) -> str:
    """JSON has no infinity: None stands for it in a report."""
    return 'infinite' if report['loss'] is None else f'{report["loss"]:.4f}'


def top5(report: dict) -> str | None:
    """Of five classes or fewer it says nothing: None."""
    return percent(report['top5_accuracy']) if len(report['class_names']) > 5 else None


def mean_robust(report: dict) -> str | None:
    """None where the corruptions were not asked for."""
    return percent(report['robustness']['mean_accuracy']) if 'robustness' in report else None


def sections(report: dict, pictures: Sequence[str], heading: str = '##', folder: str = '') -> list[str]:
    """Paragraphs of Markdown: everything in a report but its headline.

    Args:
      report: as in report.json.
      pictures: names of those that there are.
      heading: number signs before a section's title.
      folder: of the pictures, from where the Markdown will be.
    """

    def picture(name, caption):
        return [f'![{caption}]({PurePosixPath(folder, name)})'] if name in pictures else []

    def section(title, *parts):
        return [f'{heading} {title}', *parts] if parts else []

    return [
        *section('Training', *picture('curves.png', 'Loss, accuracy and learning rate by epoch')),
        *section('Classes', f'```\n{_scikit_learn_report(report)}\n```', *_confused_pairs(report)),
        *section('Confusion matrix', *picture('confusion_matrix.png', 'Confusion matrix')),
        *section('Most confident mistakes', *picture('mistakes.png', 'Pictures that were taken for another class')),
        *section('Calibration', *picture('reliability.png', 'How often a prediction is right, by its confidence')),
        *section('Corruptions', *picture('corruptions.png', 'Accuracy by corruption and severity'), *_robust(report)),
    ]


def _scikit_learn_report(report: dict) -> str:
    from sklearn.metrics import classification_report

    counts, names = np.array(report['confusion_matrix']), report['class_names']
    labels, predictions = (np.repeat(classes, counts.ravel()) for classes in map(np.ravel, np.indices(counts.shape)))
    return classification_report(
        labels, predictions, labels=range(len(names)), target_names=names, digits=4, zero_division=0
    ).rstrip()


def _confused_pairs(report: dict) -> list[str]:
    """A table of the most frequent errors, the most frequent first."""
    errors = np.array(report['confusion_matrix'])
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind='stable')[:CONFUSED_PAIRS]
    names = [plain(name) for name in report['class_names']]
    rows = [
        (f'{names[true]} → {names[predicted]}', int(errors[true, predicted]))
        for true, predicted in zip(*np.unravel_index(order, errors.shape), strict=True)
        if errors[true, predicted]
    ]
    return ['Most confused classes:', markdown_table(['true → predicted', 'count'], rows)] if rows else []


def _robust(report: dict) -> list[str]:
    """A table of the accuracy under every corruption."""
    if 'robustness' not in report:
        return []
    accuracy = report['robustness']['accuracy']
    rows = [
        [name.replace('_', ' '), *map(percent, severities), percent(np.mean(severities))]
        for name, severities in accuracy.items()
    ]
    numbers = range(1, 1 + len(next(iter(accuracy.values()))))
    return [
        f'Without corruption {percent(report["accuracy"])}, in the mean over all of them {mean_robust(report)}.',
        markdown_table(['severity', *map(str, numbers), 'mean'], rows),
    ]
