import csv
import json
import shutil

import numpy as np
import pytest

import dsconv
from dsconv import config as configuration
from dsconv import data
from dsconv.errors import InputError
from dsconv.training import scoring
from dsconv.training.scoring import own_report, report_run


def test_a_report_of_another_split_or_checkpoint_is_not_the_runs_own(finished_run, tmp_path):
    workdir = shutil.copytree(finished_run, tmp_path / 'run', copy_function=shutil.copyfile)
    own = json.loads((workdir / 'report' / 'report.json').read_text())
    assert own_report(workdir, 'test') == own and own_report(workdir, 'validation') is None
    (workdir / 'report' / 'report.json').write_text(json.dumps(own | {'checkpoint_step': 1}))
    assert own_report(workdir, 'test') is None
    (workdir / 'report' / 'report.json').unlink()
    assert own_report(workdir, 'test') is None


def test_no_temperature_is_fitted_on_images_that_may_have_been_trained_on(finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, 'drawn_otherwise', lambda config, source, split: f'other {split} images')
    with pytest.raises(InputError, match='other validation images: use the data of the run, or leave --calibrate out'):
        report_run(finished_run, output=tmp_path, calibrate=True)


def test_a_report_says_that_it_is_of_several_views(finished_run, tmp_path):
    report = report_run(finished_run, output=tmp_path, tta=True)
    own = json.loads((finished_run / 'report' / 'report.json').read_text())
    assert report['tta'] and 'tta' not in own and report['loss'] != own['loss']
    text = (tmp_path / 'report.md').read_text()
    assert 'test-time augmentation' in text and 'predict --tta --threshold' in text


def test_a_temperature_was_not_fitted_on_other_data_whatever_its_split_is_called(finished_run, tmp_path):
    other, own = (
        report_run(finished_run, 'validation', output=tmp_path / str(dataset), dataset=dataset)['calibration']
        for dataset in ('digits', None)
    )
    assert (other['in_sample'], own['in_sample']) == (False, True)


def test_the_table_of_predictions_has_the_probabilities_that_the_network_gives(finished_run, tmp_path):
    report_run(finished_run, output=tmp_path, predictions=True)
    with (tmp_path / 'predictions.csv').open() as file:
        rows = list(csv.DictReader(file))
    split = data.open_source(configuration.load_run(finished_run).dataset).load('test')
    expected = dsconv.load(finished_run)(split.images(np.arange(split.num_examples)))
    np.testing.assert_allclose([float(row['probability']) for row in rows], expected.max(1), atol=1e-4)
