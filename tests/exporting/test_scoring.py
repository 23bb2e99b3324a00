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


def test_a_file_is_scored_on_the_data_of_its_run_divided_as_it_was(write_pictures, tmp_path, monkeypatch):
    for part in ('a', 'b'):
        write_pictures(folder=part)
    paths = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob('*.png'))
    rows = [f'{path},{path.parts[-2]},{path.parts[-3]},{path.parts[-3]}{path.stem},0\n' for path in paths]
    (tmp_path / 'table.csv').write_text(''.join(['photo,kind,part,whose,other\n', *rows]))
    splits = {'splits': ('train=a', 'test=b')}
    keys = {'image_key': 'photo', 'label_key': 'kind', 'split_key': 'part', 'group_key': 'whose'}
    monkeypatch.setattr(scoring, 'write_report', lambda output, **given: given)
    for name, of_data, place, split in (
        ('image_folder:/x/pictures', splits, '.', 'test'),
        ('image_table:/x/table.csv', splits | keys | {'validation_fraction': 0.3}, '.', 'train'),
        ('image_folder:/x/a', {'fold': '2/5', 'train_fraction': 0.5}, 'pictures', 'train'),
    ):
        config = configuration.defaults()
        config.dataset.update({'name': name, 'image_size': 8, 'channels': 3, 'class_names': ('cat', 'dog'), **of_data})
        facts = dict(config=config, temperature=None, variables={'params': {}}, step=1)
        kept = json.loads(json.dumps(card.metadata(types.SimpleNamespace(**facts), tmp_path, float_input=False)))
        network = ExportedNetwork(lambda images: np.tile([0.7, 0.3], (len(images), 1)), kept)
        monkeypatch.chdir(tmp_path / place)
        monkeypatch.setattr(scoring, 'open_exported', lambda file, network=network: network)
        report = scoring.report_exported(Path('model.onnx'), tmp_path, None, split, 0, False)
        config.dataset.name = kept['dataset']['name']
        expected = data.open_source(config.dataset).load(split)
        assert (report['split'], report['data_fingerprint']) == (split, data.fingerprint(expected))


def test_a_table_is_scored_with_the_root_that_is_given(write_pictures, tmp_path, monkeypatch):
    folder = write_pictures()
    rows = [f'{path.relative_to(folder)},{path.parent.name}\n' for path in sorted(folder.rglob('*.png'))]
    (tmp_path / 'table.csv').write_text(''.join(['path,label\n', *rows]))
    config = configuration.defaults()
    of_data = dict(name='image_table:/x/table.csv', image_size=8, channels=3, class_names=('cat', 'dog'))
    config.dataset.update(of_data | {'root': '/x/pictures'})
    facts = types.SimpleNamespace(config=config, temperature=None, variables={'params': {}}, step=1)
    kept = json.loads(json.dumps(card.metadata(facts, tmp_path, float_input=False)))
    network = ExportedNetwork(lambda images: np.tile([0.7, 0.3], (len(images), 1)), kept)
    monkeypatch.setattr(scoring, 'open_exported', lambda file: network)
    monkeypatch.setattr(scoring, 'write_report', lambda output, **given: given)
    monkeypatch.chdir(tmp_path)
    arguments = Path('model.onnx'), tmp_path, None, None, 0, False
    with pytest.raises(InputError, match=f'--config.dataset.root={folder.name}'):
        scoring.report_exported(*arguments)
    assert scoring.report_exported(*arguments, [f'dataset.root={folder}'])['split'] == 'test'


def test_a_picture_without_a_probability_in_8_bits_may_be_of_any_class(tmp_path, monkeypatch):
    facts = {'image_size': 8, 'channels': 1, 'resize': 'squash', 'dataset': {'name': 'digits'}, 'title': 'a'}
    facts |= {'checkpoint_step': 1, 'parameters': 1, 'temperature': {'temperature': 2.0, 'split': 'validation'}}
    monkeypatch.setattr(scoring, 'write_report', lambda output, **given: given)
    network = types.SimpleNamespace(
        metadata=facts, class_names=tuple('0123456789'), run=lambda images: np.zeros((len(images), 10), np.float32)
    )
    monkeypatch.setattr(scoring, 'open_exported', lambda file: network)
    report = scoring.report_exported(tmp_path / 'model.tflite', tmp_path, None, 'test', 0, predictions=False)
    np.testing.assert_allclose(report['log_probabilities'], np.full((360, 10), -np.log(10)), rtol=1e-6)


@pytest.mark.parametrize('split', ['validation', 'test'])
def test_a_file_says_whether_its_temperature_was_fitted_on_what_is_scored(tmp_path, monkeypatch, split):
    facts = {'image_size': 8, 'channels': 1, 'resize': 'squash', 'dataset': {'name': 'digits'}, 'title': 'a'}
    facts |= {'checkpoint_step': 1, 'parameters': 1}
    facts |= {'temperature': {'temperature': 2.0, 'split': 'validation', 'examples': 180}}
    logits = np.float32([4, 2, 1, 0, 0, 0, 0, 0, 0, 0])
    answer = softmax(logits / 2)  # as an export divides them
    network = types.SimpleNamespace(
        metadata=facts, class_names=tuple('0123456789'), run=lambda images: np.tile(answer, (len(images), 1))
    )
    monkeypatch.setattr(scoring, 'open_exported', lambda file: network)
    report = scoring.report_exported(tmp_path / 'model.onnx', tmp_path, None, split, 0, predictions=False)
    assert report['calibration']['in_sample'] is (split == 'validation')
    labels = np.repeat(np.arange(10), [row['support'] for row in report['per_class'].values()])
    assert report['loss'] == pytest.approx(-np.log(answer)[labels].mean(), rel=1e-5)
    assert report['calibration']['loss_before'] == pytest.approx(-log_softmax(logits)[labels].mean(), rel=1e-5)
