import json

import numpy as np
import pytest
from scipy import stats

from dsconv.config import ROOT
from dsconv.studies.statistics import paired_difference, sentence, signed, spread, standard_error

STUDIES = sorted((ROOT / 'results' / 'studies').glob('*/study.json'))


def study(failed=(), unfinished=(), **variants):
    """Variants by the accuracies of seeds 0, 1, …; None where a run is missing."""
    found, first = {}, None
    for name, values in variants.items():
        accuracies = {seed: accuracy for seed, accuracy in enumerate(values) if accuracy is not None}
        first = accuracies if first is None else first
        missing = {'failed': dict(failed).get(name, 0), 'unfinished': dict(unfinished).get(name, 0)}
        found[name] = spread(accuracies) | paired_difference(accuracies, first) | missing
    return found


def test_mean_and_deviation_are_numpys():
    accuracies = {0: 0.81, 1: 0.84, 5: 0.9}
    values = list(accuracies.values())
    assert spread(accuracies) == {
        'runs': 3,
        'mean': pytest.approx(np.mean(values)),
        'std': pytest.approx(np.std(values, ddof=1)),
        'mean_interval': pytest.approx(list(stats.ttest_1samp(values, 0).confidence_interval(0.95))),
    }
    assert spread({3: 0.5}) == {'runs': 1, 'mean': 0.5, 'std': None, 'mean_interval': None}
    assert spread({}) == {'runs': 0, 'mean': None, 'std': None, 'mean_interval': None}
    assert standard_error(0.9, 5000) == pytest.approx(stats.binom(5000, 0.9).std() / 5000, rel=2e-3)
    assert standard_error(1.0, 96) == pytest.approx(stats.binom(100, 0.98).std() / 100)
    assert [signed(share) for share in (0.0123, -0.0123, -1e-9)] == ['+1.23', '−1.23', '+0.00']


def test_the_interval_is_that_of_scipys_paired_test():
    these, those = {0: 0.91, 1: 0.93, 2: 0.90, 7: 0.5}, {2: 0.88, 0: 0.90, 1: 0.89, 9: 0.1}
    result = paired_difference(these, those)
    test = stats.ttest_rel([these[seed] for seed in (0, 1, 2)], [those[seed] for seed in (0, 1, 2)])
    assert result['pairs'] == 3
    assert result['difference'] == pytest.approx((0.01 + 0.04 + 0.02) / 3)
    assert result['interval'] == pytest.approx(list(test.confidence_interval(0.95)))


def test_folds_share_training_images():
    values = {fold: accuracy for fold, accuracy in enumerate((0.8, 0.82, 0.85, 0.9, 0.81))}
    (low, high), (inner_low, inner_high) = (spread(values, overlap)['mean_interval'] for overlap in (1 / 4, 0))
    assert high - low == pytest.approx(1.5 * (inner_high - inner_low))  # √(1 + 5 · 1/4)
    twice = values | {fold + 5: accuracy for fold, accuracy in values.items()}
    widths = [np.diff(paired_difference(each, dict.fromkeys(each, 0.5), 1 / 4)['interval']) for each in (values, twice)]
    scale = [np.std(list(each.values()), ddof=1) * stats.t.ppf(0.975, len(each) - 1) for each in (values, twice)]
    assert widths[0] / scale[0] == pytest.approx(2 * np.sqrt(1 / 5 + 1 / 4))
    assert widths[1] / scale[1] == pytest.approx(2 * np.sqrt(1 / 10 + 1 / 4))


def test_too_few_pairs_and_equal_differences_have_no_interval():
    assert paired_difference({0: 0.75}, {0: 0.5, 1: 0.9}) == {'pairs': 1, 'difference': 0.25, 'interval': None}
    assert paired_difference({0: 0.75}, {1: 0.5}) == {'pairs': 0, 'difference': None, 'interval': None}
    equal = paired_difference({0: 0.3, 1: 0.4}, {0: 0.1, 1: 0.2})  # but for the rounding of these numbers
    assert equal == {'pairs': 2, 'difference': pytest.approx(0.2), 'interval': None}
    assert paired_difference({0: 0.3, 1: 0.4}, {0: 0.1, 1: 0.200001})['interval']


def test_the_best_is_named_with_its_interval_and_the_others_by_what_they_tell():
    text = sentence(
        study(
            five=(0.80, 0.81, 0.82),
            seven=(0.84, 0.851, 0.86),
            nine=(0.83, 0.842, 0.85),
            three=(0.70, 0.712, 0.72),
            one=(0.79, 0.83, 0.80),
        )
    )
    assert text.startswith('Best is seven: +4.03 points against five (95 % interval from +3.89 to +4.18 over 3 seeds')
    assert text.endswith(
        'which excludes 0); above five: nine (+3.07 points); below five: three (−9.93 points); '
        'no clear difference from five: one (−0.33 points).'
    )


def test_the_first_may_be_the_best_and_an_interval_below_zero_excludes_it():
    text = sentence(study(a=(0.9, 0.91, 0.92), b=(0.8, 0.812, 0.82), c=(0.7,)))
    assert text.startswith('Best is a, 91.00 %; nearest is b: −9.93 points against a (95 % interval from −10.22 to')
    assert text.endswith('which excludes 0); without an interval: c (−20.00 points).')


def test_a_tie_but_for_rounding_is_level():
    images = 180
    ours, theirs = ([right / images for right in row] for row in ((92, 88, 90), (90, 90, 90)))
    text = sentence(study(a=theirs, b=ours))
    assert text.startswith('Nothing is better than a, 50.00 %; b is level with it (95 % interval from −2.76 to +2.76')
    assert 'includes 0' in text


def test_failed_and_missing_runs():
    assert sentence(study(a=(), b=())) == 'No run is finished.'
    assert sentence(study(a=(0.5, 0.51))) == 'a: 50.50 % over 2 run(s), 95 % interval from 44.15 to 56.85.'
    assert sentence(study(a=(None,), b=(0.5,), c=(0.75,), failed={'a': 1})) == (
        'a, which the others are compared with, has no finished run; best is c, 75.00 %; failed runs: a (1).'
    )
    assert sentence(study(a=(0.5,), b=(None,), c=(), failed={'b': 1}, unfinished={'c': 2})) == (
        'No other variant has a finished run with a seed of a, 50.00 %; failed runs: b (1); unfinished runs: c (2).'
    )


@pytest.mark.parametrize('file', STUDIES, ids=lambda file: file.parent.name)
def test_a_published_study_says_what_its_runs_say(file):
    saved = json.loads(file.read_text())
    accuracies = {
        name: {run['seed']: run['accuracy'] for run in saved['cells'] if run['variant'] == name and 'accuracy' in run}
        for name in saved['variants']
    }
    first = next(iter(accuracies.values()))
    for name, found in saved['variants'].items():
        for key, value in (spread(accuracies[name]) | paired_difference(accuracies[name], first)).items():
            assert found[key] == pytest.approx(value), (name, key)
    assert saved['sentence'] == sentence(saved['variants'])
    page = file.with_name('study.md').read_text()
    assert saved['sentence'] in page and saved['command'] in page
