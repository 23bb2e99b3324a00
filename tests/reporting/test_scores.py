import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from dsconv.reporting.scores import expected_calibration_error, reliability_bins


def predictions(count=3000, power=2.0):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.1, 1, count)
    return confidence, rng.random(count) < confidence**power


def test_bins_are_those_of_scikit_learn():
    confidence, correct = predictions()
    counts, confidences, accuracies = reliability_bins(confidence, correct)
    shares, means = calibration_curve(correct, confidence, n_bins=15)
    np.testing.assert_allclose(accuracies[counts > 0], shares)
    np.testing.assert_allclose(confidences[counts > 0], means)
    assert counts.sum() == 3000 and counts[0] == 0
    expected = np.abs(shares - means) @ counts[counts > 0] / 3000
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected)
    assert expected > 0.1


def test_edges_belong_to_the_bin_below():
    counts, _, _ = reliability_bins(np.array([1 / 15 * 3, 0.2 + 1e-9, 1.0, 1.0 + 1e-7]), np.ones(4, bool))
    assert counts[[2, 3, 14]].tolist() == [1, 1, 2]


def test_as_sure_as_right_is_calibrated():
    correct = np.arange(100) < 80
    assert expected_calibration_error(np.full(100, 0.8), correct) == pytest.approx(0, abs=1e-12)
    assert expected_calibration_error(np.full(100, 0.99), correct) == pytest.approx(0.19)
    assert expected_calibration_error(*predictions(100_000, power=1.0)) < 0.01
