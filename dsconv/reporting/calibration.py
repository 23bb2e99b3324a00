"""Calibration: whether a prediction made with a confidence of 80 % is right in 80 % of the cases."""

import numpy as np

BINS = 15


def reliability_bins(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions sorted into BINS bins of equal width, (0, 1/15], …, (14/15, 1], by their confidence.

    Args:
      confidence: (N,) in (0, 1], the probability of the predicted class.
      correct: (N,) bool.

    Returns: of each bin the number of predictions, their mean confidence, and the share that is right, the last two
      NaN in an empty bin.
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid='ignore'):
        means = [np.bincount(bins, weights, minlength=BINS) / counts for weights in (confidence, correct)]
    return counts, *means


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """The mean distance, from 0 to 1, of confidence and accuracy over `reliability_bins`, each by its predictions.

    Guo et al., 'On Calibration of Modern Neural Networks', 2017, equation 3.
    """
    counts, confidences, accuracies = reliability_bins(confidence, correct)
    return float(np.nansum(counts * np.abs(accuracies - confidences)) / counts.sum())
