"""The report of an evaluation: figures as JSON, a page of Markdown, three pictures."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dsconv.errors import InputError, RunError
from dsconv.files import replace_file
from dsconv.reporting.table import markdown_table

CONFUSED_PAIRS = 10


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
) -> dict:
    """Writes report.json, report.md and the pictures into `output` and returns what report.json says.

    Args:
      output: directory, made when missing. Files of an earlier report are replaced, each in one step; report.json
        comes last, so whoever sees a new one has the rest as well.
      labels: (N,) integers in [0, C), N >= 1.
      log_probabilities: (N, C) float32, natural logarithms (-inf allowed); row n belongs to labels[n].
      class_names: C different names. A class without examples is listed with support 0.
      mistake_images: indices (n,) into `labels` → uint8 pictures (n, H, W, 1 or 3); called at most once.
      metrics: the lines of metrics.jsonl for the curves; [] for a report without them.
      command: what a person types to get this report again.

    Raises InputError for a split without examples, RunError for log-probabilities that are NaN (the model diverged),
    ValueError for shapes or labels that do not fit together.
    """
    from dsconv.reporting import figures

    labels, log_probabilities = np.asarray(labels), np.asarray(log_probabilities)
    _check(labels, log_probabilities, class_names, split)
    predictions = log_probabilities.argmax(axis=1)
    report = {
        'dataset': dataset,
        'split': split,
        'checkpoint_step': checkpoint_step,
        'parameters': parameters,
        'command': command,
        **_scores(labels, predictions, log_probabilities, class_names),
    }
    wrong = np.flatnonzero(predictions != labels)
    confidence = log_probabilities[wrong, predictions[wrong]]
    wrong = wrong[np.argsort(-confidence, kind='stable')][: figures.MISTAKES]

    counts = np.array(report['confusion_matrix'])
    caption = f'{split}: {len(labels):,} examples, accuracy {_percent(report["accuracy"])}'
    pictures = {'confusion_matrix.png': figures.confusion_matrix(counts, class_names, caption)}
    if metrics:
        pictures['curves.png'] = figures.curves(metrics)
    if len(wrong):
        captions = [
            figures.mistake_caption(
                class_names[labels[index]],
                class_names[predictions[index]],
                math.exp(log_probabilities[index, predictions[index]]),
            )
            for index in wrong
        ]
        pictures['mistakes.png'] = figures.mistakes(mistake_images(wrong), captions)

    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    for name, figure in pictures.items():
        replace_file(output / name, figures.png(figure))
    text = _scikit_learn_report(labels, predictions, class_names)
    replace_file(output / 'report.md', _markdown(title, report, text, list(pictures)).encode())
    for name in {'curves.png', 'mistakes.png'} - set(pictures):
        (output / name).unlink(missing_ok=True)
    replace_file(output / 'report.json', _json(report).encode())
    return report


def _check(labels: np.ndarray, log_probabilities: np.ndarray, class_names: Sequence[str], split: str) -> None:
    if not len(labels):
        raise InputError(f'The split {split!r} has no examples: there is nothing to report.')
    if log_probabilities.shape != (len(labels), len(class_names)):
        raise ValueError(
            f'{len(labels)} labels and {len(class_names)} class names do not fit log-probabilities of '
            f'shape {log_probabilities.shape}.'
        )
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(f'Labels from {labels.min()} to {labels.max()} with {len(class_names)} classes.')
    if np.isnan(log_probabilities).any():
        raise RunError('The model predicts NaN: its training diverged. Evaluate an earlier checkpoint.')


def _scores(
    labels: np.ndarray, predictions: np.ndarray, log_probabilities: np.ndarray, class_names: Sequence[str]
) -> dict:
    """The figures of report.json that follow from labels and log-probabilities.

    Macro averages are over all C classes; a precision or recall of 0 / 0 counts as 0.
    """
    from sklearn import metrics

    classes = range(len(class_names))
    # Indices for names: among its classes scikit-learn's dictionary has keys such as 'accuracy', which a class may be
    # called too.
    by_class = metrics.classification_report(
        labels, predictions, labels=classes, target_names=list(map(str, classes)), output_dict=True, zero_division=0
    )
    loss = -log_probabilities[np.arange(len(labels)), labels].mean(dtype=np.float64)
    return {
        'num_examples': len(labels),
        'accuracy': float(metrics.accuracy_score(labels, predictions)),
        'top5_accuracy': _top5_accuracy(labels, log_probabilities),
        'loss': float(loss) if np.isfinite(loss) else None,
        'macro_average': _row(by_class['macro avg']),
        'weighted_average': _row(by_class['weighted avg']),
        'class_names': list(class_names),
        'per_class': {name: _row(by_class[str(c)]) for c, name in enumerate(class_names)},
        'confusion_matrix': metrics.confusion_matrix(labels, predictions, labels=classes).tolist(),
    }


def _row(scores: dict) -> dict:
    """scikit-learn's names → those of report.json."""
    return {
        'precision': float(scores['precision']),
        'recall': float(scores['recall']),
        'f1': float(scores['f1-score']),
        'support': int(scores['support']),
    }


def _top5_accuracy(labels: np.ndarray, log_probabilities: np.ndarray) -> float:
    from sklearn.metrics import top_k_accuracy_score

    classes = log_probabilities.shape[1]
    if classes <= 5:
        return 1.0  # by definition; scikit-learn would warn, and take two classes for a binary problem of another shape
    finite = np.maximum(log_probabilities, np.finfo(np.float32).min)  # scikit-learn refuses -inf
    return float(top_k_accuracy_score(labels, finite, k=5, labels=range(classes)))


def _scikit_learn_report(labels: np.ndarray, predictions: np.ndarray, class_names: Sequence[str]) -> str:
    from sklearn.metrics import classification_report

    return classification_report(
        labels, predictions, labels=range(len(class_names)), target_names=list(class_names), digits=4, zero_division=0
    ).rstrip()


def _confused_pairs(report: dict) -> list[tuple[str, int]]:
    """The most frequent errors as ('true → predicted', count), the most frequent first."""
    errors = np.array(report['confusion_matrix'])
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind='stable')[:CONFUSED_PAIRS]
    names = report['class_names']
    return [
        (f'{names[true]} → {names[predicted]}', int(errors[true, predicted]))
        for true, predicted in zip(*np.unravel_index(order, errors.shape), strict=True)
        if errors[true, predicted]
    ]


def _markdown(title: str, report: dict, text: str, pictures: Sequence[str]) -> str:
    headline = [
        ('dataset', report['dataset']),
        ('split', report['split']),
        ('examples', f'{report["num_examples"]:,}'),
        ('accuracy', _percent(report['accuracy'])),
        *([('top-5 accuracy', _percent(report['top5_accuracy']))] if len(report['class_names']) > 5 else []),
        ('loss (cross-entropy, nats)', 'infinite' if report['loss'] is None else f'{report["loss"]:.4f}'),
        ('macro F1', f'{report["macro_average"]["f1"]:.4f}'),
        ('checkpoint', f'step {report["checkpoint_step"]:,}'),
        ('parameters', f'{report["parameters"]:,}'),
    ]
    captions = {'curves.png': 'Training', 'mistakes.png': 'Most confident mistakes'}
    pairs = _confused_pairs(report)
    parts = [
        f'# {title}',
        f'```\n{report["command"]}\n```',
        markdown_table(['', 'value'], headline),
        '## Classes',
        f'```\n{text}\n```',
        '## Confusion matrix',
        '![Confusion matrix](confusion_matrix.png)',
    ]
    if pairs:
        parts += ['Most confused classes:', markdown_table(['true → predicted', 'count'], pairs)]
    for name, caption in captions.items():
        if name in pictures:
            parts += [f'## {caption}', f'![{caption}]({name})']
    return '\n\n'.join(parts) + '\n'


def _json(report: dict) -> str:
    """One key a line: a matrix spread over a line for each number could not be read."""
    return (
        '{\n'
        + ',\n'.join(
            f'  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}'
            for key, value in report.items()
        )
        + '\n}\n'
    )


def _percent(fraction: float) -> str:
    return f'{fraction:.2%}'.replace('%', ' %')
