"""What is counted from labels and predictions: the figures of report.json."""

from collections.abc import Sequence

import numpy as np

from dsconv.reporting.calibration import expected_calibration_error


def scores(labels: np.ndarray, log_probabilities: np.ndarray, class_names: Sequence[str]) -> dict:
    """The figures of report.json that follow from labels and log-probabilities, of the shapes of `write_report`.

    Macro averages are over all C classes; a precision or recall of 0 / 0 counts as 0. The worst class is the one of
    the least recall among those with examples, of several the first. `ece` is of `calibration`.
    """
    from sklearn import metrics

    classes, predictions = range(len(class_names)), log_probabilities.argmax(axis=1)
    # Indices for names: among its classes scikit-learn's dictionary has keys such as 'accuracy', which a class may be
    # called too.
    by_class = metrics.classification_report(
        labels, predictions, labels=classes, target_names=list(map(str, classes)), output_dict=True, zero_division=0
    )
    rows = {name: _row(by_class[str(c)]) for c, name in enumerate(class_names)}
    worst = min((name for name in rows if rows[name]['support']), key=lambda name: rows[name]['recall'])
    confidence = np.exp(log_probabilities.max(axis=1).astype(np.float64))
    loss = -log_probabilities[np.arange(len(labels)), labels].mean(dtype=np.float64)
    return {
        'num_examples': len(labels),
        'accuracy': float(metrics.accuracy_score(labels, predictions)),
        'top5_accuracy': _top5_accuracy(labels, log_probabilities),
        'loss': float(loss) if np.isfinite(loss) else None,
        'ece': expected_calibration_error(confidence, predictions == labels),
        'worst_class': {'name': worst, 'recall': rows[worst]['recall']},
        'macro_average': _row(by_class['macro avg']),
        'weighted_average': _row(by_class['weighted avg']),
        'class_names': list(class_names),
        'per_class': rows,
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
