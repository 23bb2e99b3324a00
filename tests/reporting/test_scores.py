"""Scores against scikit-learn and by hand."""

import math

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from dsconv.reporting.scores import by_threshold, expected_calibration_error, reliability_bins, scores

NAMES = ['cat', 'accuracy', 'été', 'absent']  # one is called like a key of scikit-learn's
LABELS = np.array([0, 0, 0, 1, 1, 2])
PROBABILITIES = np.array([
    [0.7, 0.1, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1], [0.2, 0.6, 0.1, 0.1],
    [0.1, 0.7, 0.1, 0.1], [0.05, 0.1, 0.8, 0.05], [0.1, 0.1, 0.7, 0.1],
])  # fmt: skip


def test_scores_by_hand():
    found = scores(LABELS, np.log(PROBABILITIES), NAMES)
    assert found['confusion_matrix'] == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert (found['num_examples'], found['accuracy'], found['top5_accuracy']) == (6, pytest.approx(4 / 6), 1)
    assert found['loss'] == pytest.approx(-(4 * math.log(0.7) + math.log(0.2) + math.log(0.1)) / 6)
    assert found['per_class'] == {
        'cat': pytest.approx({'precision': 1.0, 'recall': 2 / 3, 'f1': 0.8, 'support': 3}),
        'accuracy': pytest.approx({'precision': 0.5, 'recall': 0.5, 'f1': 0.5, 'support': 2}),
        'été': pytest.approx({'precision': 0.5, 'recall': 1.0, 'f1': 2 / 3, 'support': 1}),
        'absent': {'precision': 0.0, 'recall': 0.0, 'f1': 0.0, 'support': 0},
    }
    assert found['worst_class'] == {'name': 'accuracy', 'recall': 0.5}  # absent has no recall
    assert found['macro_average'] == pytest.approx(
        {'precision': 2 / 3, 'recall': (2 / 3 + 0.5 + 1) / 3, 'f1': (0.8 + 0.5 + 2 / 3) / 3, 'support': 6}
    )
    # In bins of a fifteenth: 0.6 (wrong) alone, four of 0.7 (right), 0.8 (wrong) alone.
    assert found['ece'] == pytest.approx((1 * 0.6 + 4 * 0.3 + 1 * 0.8) / 6, abs=1e-6)


@pytest.mark.filterwarnings('error')
def test_scores_of_many_classes_are_scikit_learns():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(12), size=200).astype(np.float32)
    labels = random.integers(0, 11, size=200)  # the last class is absent, yet predicted
    found = scores(labels, np.log(probabilities), [f'class {index}' for index in range(12)])
    predictions = probabilities.argmax(axis=1)
    above = (probabilities > probabilities[np.arange(200), labels][:, None]).sum(axis=1)
    assert found['top5_accuracy'] == pytest.approx((above < 5).mean())
    assert found['accuracy'] == pytest.approx((above == 0).mean())
    assert found['macro_f1'] == pytest.approx(metrics.f1_score(labels, predictions, labels=range(11), average='macro'))
    with pytest.warns(UserWarning, match='not in y_true'):
        assert found['balanced_accuracy'] == pytest.approx(metrics.balanced_accuracy_score(labels, predictions))
    averages = metrics.precision_recall_fscore_support(labels, predictions, average='weighted', zero_division=0)
    expected = dict(zip(('precision', 'recall', 'f1'), averages)) | {'support': 200}
    assert found['weighted_average'] == pytest.approx(expected)


def test_a_split_with_one_class_of_two_and_an_impossible_label():
    with np.errstate(divide='ignore'):
        found = scores(np.array([1, 1]), np.log([[0.2, 0.8], [1.0, 0.0]]), ['no', 'yes'])
    assert found['confusion_matrix'] == [[0, 0], [1, 1]]
    assert found['per_class']['no']['support'] == 0
    assert found['loss'] is None
    with np.errstate(divide='ignore'):
        assert scores(np.zeros(1, int), np.log([[0, 0.2, 0.2, 0.2, 0.2, 0.2]]), list('abcdef'))['top5_accuracy'] == 0


def test_bins_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.1, 1, 3000)
    correct = random.random(3000) < confidence**2
    counts, confidences, accuracies = reliability_bins(confidence, correct)
    shares, means = calibration_curve(correct, confidence, n_bins=15)
    np.testing.assert_allclose(accuracies[counts > 0], shares)
    np.testing.assert_allclose(confidences[counts > 0], means)
    assert counts.sum() == 3000 and counts[0] == 0
    expected = np.abs(shares - means) @ counts[counts > 0] / 3000
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected)
    assert expected > 0.1
    counts, _, _ = reliability_bins(np.array([1 / 15 * 3, 0.2 + 1e-9, 1.0, 1.0 + 1e-7]), np.ones(4, bool))
    assert counts[[2, 3, 14]].tolist() == [1, 1, 2]  # an edge belongs to the bin below


def test_a_threshold_is_reached_by_what_is_just_as_sure():
    rows = {row['threshold']: row for row in by_threshold(np.array([0.5, 0.5, 0.7]), np.array([True, False, True]))}
    assert rows[0.5] == {'threshold': 0.5, 'coverage': 1.0, 'accuracy': 2 / 3}
    assert rows[0.7] == {'threshold': 0.7, 'coverage': 1 / 3, 'accuracy': 1.0}
    assert rows[0.8] == {'threshold': 0.8, 'coverage': 0.0, 'accuracy': None}
