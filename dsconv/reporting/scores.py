"""Scores predictions: the numbers of report.json, with scikit-learn, and the calibration of the confidences."""

from collections.abc import Sequence

import numpy as np

BINS = 15  # number of confidence bins
THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def scores(labels: np.ndarray, log_probabilities: np.ndarray, class_names: Sequence[str]) -> dict:
    """Computes the scores in report.json from labels and log-probabilities, shaped as in `write_report`.

    Macro averages, `balanced_accuracy` (the mean recall) and the worst class (the first with the lowest recall) include
    only the classes that have examples. A precision of 0 / 0 counts as 0. `ece` is in [0, 1].
    """
    from sklearn import metrics

    best = np.argsort(-log_probabilities, axis=1, kind='stable')[:, :5]
    classes, predictions = range(len(class_names)), best[:, 0]
    *shares, support = metrics.precision_recall_fscore_support(labels, predictions, labels=classes, zero_division=0)
    columns = dict(zip(('precision', 'recall', 'f1'), shares, strict=True))
    rows = {
        name: {key: float(column[c]) for key, column in columns.items()} | {'support': int(support[c])}
        for c, name in enumerate(class_names)
    }
    present = {name: row for name, row in rows.items() if row['support']}
    macro = {key: float(np.mean(column[support > 0])) for key, column in columns.items()}
    weighted = {key: float(np.average(column, weights=support)) for key, column in columns.items()}
    worst = min(present, key=lambda name: present[name]['recall'])
    confidence = np.exp(log_probabilities.max(axis=1).astype(np.float64))
    loss = -log_probabilities[np.arange(len(labels)), labels].mean(dtype=np.float64)
    return {
        'num_examples': len(labels),
        'accuracy': float(metrics.accuracy_score(labels, predictions)),
        'top5_accuracy': float((best == labels[:, None]).any(axis=1).mean()),
        'balanced_accuracy': macro['recall'],
        'macro_f1': macro['f1'],
        'loss': float(loss) if np.isfinite(loss) else None,
        'ece': expected_calibration_error(confidence, predictions == labels),
        'thresholds': by_threshold(confidence, predictions == labels),
        'worst_class': {'name': worst, 'recall': present[worst]['recall']},
        'macro_average': macro | {'support': len(labels)},
        'weighted_average': weighted | {'support': len(labels)},
        'class_names': list(class_names),
        'per_class': rows,
        'confusion_matrix': metrics.confusion_matrix(labels, predictions, labels=classes).tolist(),
    }


def reliability_bins(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins predictions by confidence, into BINS bins of equal width, (0, 1/15], …, (14/15, 1].

    scikit-learn's `calibration_curve` is not used, because it omits empty bins and returns no counts. `confidence`,
    (N,) in (0, 1], is the probability of the predicted class; `correct` is (N,) bool.

    Returns for each bin the number of predictions, their mean confidence and their accuracy, both NaN in an empty bin.
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid='ignore'):
        means = [np.bincount(bins, weights, minlength=BINS) / counts for weights in (confidence, correct)]
    return counts, *means


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Returns the mean absolute difference of confidence and accuracy, by `reliability_bins` (Guo et al. 2017)."""
    counts, confidences, accuracies = reliability_bins(confidence, correct)
    return float(np.nansum(counts * np.abs(accuracies - confidences)) / counts.sum())


def by_threshold(confidence: np.ndarray, correct: np.ndarray) -> list[dict]:
    """Returns for each of THRESHOLDS the share of predictions that reach it, and their accuracy, or None if none do."""
    rows = []
    for threshold in THRESHOLDS:
        sure = confidence >= threshold
        accuracy = float(correct[sure].mean()) if sure.any() else None
        rows.append({'threshold': threshold, 'coverage': float(sure.mean()), 'accuracy': accuracy})
    return rows


def with_temperature(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns float64 log-probabilities `(…, classes)` of logits / `temperature`; above 1, they are less confident."""
    from scipy.special import log_softmax

    return log_softmax(log_probabilities.astype(np.float64) / temperature, axis=-1)
