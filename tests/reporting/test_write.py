import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from dsconv.errors import InputError, RunError
from dsconv.reporting import write_report

NAMES = ['cat', 'dog|wolf', 'été', 'absent']
LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTIONS = np.array([0, 0, 1, 1, 2, 2])
METRICS = [
    {'step': 10, 'epoch': 1.0, 'split': 'train', 'loss': 1.0, 'accuracy': 0.5, 'learning_rate': 0.1},
    {'step': 20, 'epoch': 2.0, 'split': 'test', 'loss': None, 'accuracy': 0.75},
]
PICTURES = {'confusion_matrix.png', 'reliability.png', 'curves.png', 'mistakes.png'}


def grey_pictures(indices):
    return np.full((len(indices), 8, 8, 1), 128, np.uint8)


def report_on(output, labels=LABELS, predictions=PREDICTIONS, names=NAMES, confidence=0.9, **changes):
    others = (1 - np.broadcast_to(confidence, len(predictions))) / (len(NAMES) - 1)
    probabilities = np.tile(others[:, None], len(NAMES))
    probabilities[np.arange(len(predictions)), predictions] = confidence
    arguments = {
        'mistake_images': grey_pictures,
        'metrics': METRICS,
        'checkpoint_step': 1200,
        'parameters': 594186,
        'command': 'python -m dsconv.evaluate --workdir=runs/x',
        'title': 'Evaluation of *x*',
        'log_probabilities': np.log(probabilities, dtype=np.float32),
    } | changes
    return write_report(output, dataset='pets', split='test', labels=labels, class_names=names, **arguments)


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures cost seconds: their names instead."""
    monkeypatch.setattr('dsconv.reporting.figures.png', lambda figure: b'')


def test_the_page_has_its_pictures_and_tables_and_the_json_what_was_returned(tmp_path):
    directory = tmp_path / 'deep' / 'report'
    report = report_on(directory)
    assert json.loads((directory / 'report.json').read_text(encoding='utf-8')) == report
    facts = {'dataset': 'pets', 'split': 'test', 'checkpoint_step': 1200, 'parameters': 594186, 'accuracy': 4 / 6}
    assert {key: report[key] for key in facts} == facts and not {'robustness', 'data_fingerprint'} & set(report)
    page = (directory / 'report.md').read_text(encoding='utf-8')
    assert page.startswith('# Evaluation of \\*x\\*\n\n```\npython -m dsconv.evaluate --workdir=runs/x\n```\n')
    assert set(re.findall(r'!\[[^]]*\]\(([^)]*)\)', page)) == PICTURES
    assert set(os.listdir(directory)) == PICTURES | {'report.json', 'report.md'}
    for name in PICTURES:
        with Image.open(directory / name) as picture:
            assert picture.format == 'PNG' and min(picture.size) > 100
            assert len(set(picture.convert('L').resize((50, 50)).tobytes())) > 5
        assert (directory / name).stat().st_size < 300_000
    assert re.search(r'^\| accuracy +\| 66\.67 %', page, re.MULTILINE)
    assert re.search(r'^\| cat → dog\\\|wolf +\| +1 \|', page, re.MULTILINE)


def test_examples_are_drawn_by_a_fixed_seed_and_coloured_by_whether_they_are_right(tmp_path, undrawn, monkeypatch):
    drawn = []
    monkeypatch.setattr('dsconv.reporting.figures.predictions', lambda *arguments: drawn.append(arguments))
    labels, predictions, asked = np.arange(40) % 2, np.arange(40) // 20, []
    for directory in (tmp_path, tmp_path / 'again'):
        report_on(directory, labels, predictions, mistake_images=lambda x: asked.append(x) or x, examples=8)
        assert (directory / 'examples.png').exists()
    indices, (_, captions, is_right, _) = asked[1], drawn[1]
    assert len(set(indices)) == 8 and is_right.tolist() == (labels == predictions)[indices].tolist()
    assert [' → ' in caption for caption in captions] == (~is_right).tolist()
    assert asked[3].tolist() == indices.tolist()
    assert len(asked[0]) == 20  # the mistakes, of which at most 25 are shown
    many = np.ones(40, int)
    report_on(
        tmp_path, 0 * many, many, confidence=np.linspace(0.6, 0.9, 40), mistake_images=lambda x: asked.append(x) or x
    )
    assert asked[4].tolist() == list(range(39, 14, -1))


def test_pictures_of_an_earlier_report_are_removed(tmp_path, undrawn):
    robustness = {'source': 'here', 'mean_accuracy': 0.4, 'accuracy': {'shot_noise': [0.5, 0.4], 'jpeg': [0.5, 0.2]}}
    report = report_on(tmp_path, robustness=robustness, data_fingerprint='f00')
    assert (report['robustness'], report['data_fingerprint']) == (robustness, 'f00')
    assert set(os.listdir(tmp_path)) == PICTURES | {'corruptions.png', 'report.json', 'report.md'}
    report_on(tmp_path, predictions=LABELS, metrics=[], mistake_images=lambda indices: pytest.fail('no mistakes'))
    assert set(os.listdir(tmp_path)) == {'confusion_matrix.png', 'reliability.png', 'report.json', 'report.md'}
    page = (tmp_path / 'report.md').read_text(encoding='utf-8')
    assert 'curves.png' not in page and 'mistakes.png' not in page and '→' not in page


def test_what_cannot_be_reported_is_refused(tmp_path):
    with pytest.raises(InputError, match="'test' has no examples"):
        report_on(tmp_path, LABELS[:0], PREDICTIONS[:0])
    with pytest.raises(RunError, match='diverged'):
        report_on(tmp_path, log_probabilities=np.full((6, 4), np.nan))
    assert not list(tmp_path.iterdir())


def test_pictures_are_captioned_true_to_predicted_and_drawn_of_probabilities(tmp_path, undrawn, monkeypatch):
    given = {}
    for name in ('predictions', 'reliability', 'confusion_matrix'):
        monkeypatch.setattr(f'dsconv.reporting.figures.{name}', lambda *parts, name=name: given.setdefault(name, parts))
    report_on(tmp_path, confidence=[0.9, 0.9, 0.8, 0.9, 0.6, 0.9])
    assert given['predictions'][1] == ['cat → dog|wolf, 80 %', 'dog|wolf → été, 60 %']
    confidence, correct = given['reliability']
    np.testing.assert_allclose(confidence, [0.9, 0.9, 0.8, 0.9, 0.6, 0.9], rtol=1e-6)
    assert correct.tolist() == [True, True, False, True, False, True]
    assert given['confusion_matrix'][0][:2].tolist() == [[2, 1, 0, 0], [0, 1, 1, 0]]  # rows are the true classes
