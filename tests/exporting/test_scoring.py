"""Scoring an exported file, whose runtime is replaced."""

import json
import types
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from dsconv import config as configuration
from dsconv import data
from dsconv.errors import InputError
from dsconv.exported import ExportedNetwork
from dsconv.exporting import card, scoring
from dsconv.reporting import write_report

OF_PETS = {'image_size': 8, 'channels': 3, 'class_names': ('cat', 'dog')}
OF_DIGITS = {'name': 'digits', 'image_size': 8, 'channels': 1, 'class_names': tuple('0123456789')}


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """Scores the file of a run on a dataset; returns what is reported, and the dataset as the file names it."""
    monkeypatch.setattr(scoring, 'write_report', lambda output, **given: given)

    def score(dataset, answer, split=None, where=(), temperature=None):
        config = configuration.defaults()
        config.dataset.update(dataset)
        run = types.SimpleNamespace(config=config, temperature=temperature, variables={'params': {}}, step=1)
        kept = json.loads(json.dumps(card.metadata(run, tmp_path, float_input=False)))
        network = ExportedNetwork(lambda images: np.tile(np.float32(answer), (len(images), 1)), kept)
        monkeypatch.setattr(scoring, 'open_exported', lambda file: network)
        config.dataset.name = kept['dataset']['name']
        return scoring.report_exported(Path('model.onnx'), tmp_path, None, split, 0, False, where), config.dataset

    return score


def test_a_file_is_scored_on_the_data_of_its_run_divided_as_it_was(scored, write_pictures, tmp_path, monkeypatch):
    for part in ('a', 'b'):
        write_pictures(folder=part)
    paths = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob('*.png'))
    rows = [f'{path},{path.parts[-2]},{path.parts[-3]},{path.parts[-3]}{path.stem},0\n' for path in paths]
    (tmp_path / 'table.csv').write_text(''.join(['photo,kind,part,whose,other\n', *rows]))
    splits = {'splits': ('train=a', 'test=b')}
    keys = {'image_key': 'photo', 'label_key': 'kind', 'split_key': 'part', 'group_key': 'whose'}
    for name, of_data, place, split in (
        ('image_folder:/x/pictures', splits, '.', 'test'),
        ('image_table:/x/table.csv', splits | keys | {'validation_fraction': 0.3}, '.', 'train'),
        ('image_folder:/x/a', {'fold': '2/5', 'train_fraction': 0.5}, 'pictures', 'train'),
    ):
        monkeypatch.chdir(tmp_path / place)
        report, dataset = scored(OF_PETS | of_data | {'name': name}, (0.7, 0.3), split)
        expected = data.open_source(dataset).load(split)
        assert (report['split'], report['data_fingerprint']) == (split, data.fingerprint(expected))


def test_a_table_is_scored_with_the_root_that_is_given(scored, write_pictures, tmp_path, monkeypatch):
    folder = write_pictures()
    rows = [f'{path.relative_to(folder)},{path.parent.name}\n' for path in sorted(folder.rglob('*.png'))]
    (tmp_path / 'table.csv').write_text(''.join(['path,label\n', *rows]))
    monkeypatch.chdir(tmp_path)
    given = OF_PETS | {'name': 'image_table:/x/table.csv', 'root': '/x/pictures'}, (0.7, 0.3)
    with pytest.raises(InputError, match='--config.dataset.root=DIR'):
        scored(*given)
    report, _ = scored(*given, where=[f'dataset.root={folder}'])
    assert report['split'] == 'test'


def test_a_picture_without_a_probability_in_8_bits_may_be_of_any_class(scored):
    report, _ = scored(OF_DIGITS, np.zeros(10), 'test', temperature={'temperature': 2.0, 'split': 'validation'})
    np.testing.assert_allclose(report['log_probabilities'], np.full((360, 10), -np.log(10)), rtol=1e-6)


@pytest.mark.parametrize('split', ['validation', 'test'])
def test_a_file_says_whether_its_temperature_was_fitted_on_what_is_scored(scored, tmp_path, split):
    logits = np.float32([4, 2, 1, 0, 0, 0, 0, 0, 0, 0])
    answer = softmax(logits / 2)  # as an export divides them
    temperature = {'temperature': 2.0, 'split': 'validation', 'examples': 180}
    report = write_report(tmp_path, **scored(OF_DIGITS, answer, split, temperature=temperature)[0])
    assert report['calibration']['in_sample'] is (split == 'validation')
    labels = np.repeat(np.arange(10), [row['support'] for row in report['per_class'].values()])
    assert report['loss'] == pytest.approx(-np.log(answer)[labels].mean(), rel=1e-5)
    assert report['calibration']['loss_before'] == pytest.approx(-log_softmax(logits)[labels].mean(), rel=1e-5)
