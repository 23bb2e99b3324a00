"""The studies in results/ agree with the statistics of the current code."""

import json

import pytest

from dsconv.config import ROOT
from dsconv.studies.statistics import paired_difference, sentence, spread

FILES = sorted((ROOT / 'results' / 'studies').glob('*/study.json'))


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.parent.name)
def test_a_study_says_what_its_runs_say(file):
    study = json.loads(file.read_text())
    accuracies = {
        name: {run['seed']: run['accuracy'] for run in study['cells'] if run['variant'] == name and 'accuracy' in run}
        for name in study['variants']
    }
    first = next(iter(accuracies.values()))
    for name, found in study['variants'].items():
        for key, value in (spread(accuracies[name]) | paired_difference(accuracies[name], first)).items():
            assert found[key] == pytest.approx(value), (name, key)
    assert study['sentence'] == sentence(study['variants'])
    page = file.with_name('study.md').read_text()
    assert study['sentence'] in page and study['command'] in page
