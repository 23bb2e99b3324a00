import json
import math
import os
import re

import numpy as np
import pytest
from PIL import Image

from dsconv.errors import InputError, RunError
from dsconv.reporting import write_report

NAMES = ['cat', 'dog|wolf', 'été', 'absent']
LABELS = np.array([0, 0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [
        [0.7, 0.1, 0.1, 0.1],
        [0.7, 0.1, 0.1, 0.1],
        [0.2, 0.6, 0.1, 0.1],  # cat taken for a dog, 60 %
        [0.1, 0.7, 0.1, 0.1],
        [0.05, 0.1, 0.8, 0.05],  # dog taken for été, 80 %
        [0.1, 0.1, 0.7, 0.1],
    ]
)
METRICS = [
    {'step': 10, 'epoch': 1.0, 'split': 'train', 'loss': 1.0, 'accuracy': 0.5, 'learning_rate': 0.1},
    {'step': 20, 'epoch': 2.0, 'split': 'test', 'loss': None, 'accuracy': 0.75},
]
PICTURES = {'confusion_matrix.png', 'reliability.png', 'curves.png', 'mistakes.png'}


def grey_pictures(indices):
    return np.full((len(indices), 8, 8, 1), 128, np.uint8)


def report_on(output, labels=LABELS, probabilities=PROBABILITIES, names=NAMES, **changes):
    arguments = {
        'mistake_images': grey_pictures,
        'metrics': METRICS,
        'checkpoint_step': 1200,
        'parameters': 594186,
        'command': 'python -m dsconv.evaluate --workdir=runs/x',
        'title': 'Evaluation of x',
    } | changes
    with np.errstate(divide='ignore'):
        logs = np.log(np.asarray(probabilities, np.float32))
    return write_report(
        output, dataset='pets', split='test', labels=labels, log_probabilities=logs, class_names=names, **arguments
    )


def page_in(directory):
    """report.md without the padding of its tables."""
    return re.sub(' +', ' ', (directory / 'report.md').read_text(encoding='utf-8'))


def right(count, classes):
    """Labels and probabilities of a classifier that is always right."""
    labels = np.arange(count) % classes
    return labels, np.eye(classes)[labels] * 0.9 + 0.1 / classes


def test_figures_worked_out_by_hand(tmp_path):
    report = report_on(tmp_path)
    assert report['confusion_matrix'] == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert report['accuracy'] == pytest.approx(4 / 6)
    assert report['top5_accuracy'] == 1.0
    assert report['loss'] == pytest.approx(-(4 * math.log(0.7) + math.log(0.2) + math.log(0.1)) / 6)
    assert report['per_class'] == {
        'cat': pytest.approx({'precision': 1.0, 'recall': 2 / 3, 'f1': 0.8, 'support': 3}),
        'dog|wolf': pytest.approx({'precision': 0.5, 'recall': 0.5, 'f1': 0.5, 'support': 2}),
        'été': pytest.approx({'precision': 0.5, 'recall': 1.0, 'f1': 2 / 3, 'support': 1}),
        'absent': {'precision': 0.0, 'recall': 0.0, 'f1': 0.0, 'support': 0},
    }
    assert report['macro_average'] == pytest.approx(
        {'precision': 0.5, 'recall': (2 / 3 + 0.5 + 1) / 4, 'f1': (0.8 + 0.5 + 2 / 3) / 4, 'support': 6}
    )
    assert {
        key: report[key]
        for key in ('dataset', 'split', 'num_examples', 'class_names', 'checkpoint_step', 'parameters', 'command')
    } == {
        'dataset': 'pets',
        'split': 'test',
        'num_examples': 6,
        'class_names': NAMES,
        'checkpoint_step': 1200,
        'parameters': 594186,
        'command': 'python -m dsconv.evaluate --workdir=runs/x',
    }


def test_the_worst_class_is_the_least_recognised_of_those_there_are(tmp_path):
    report = report_on(tmp_path)
    assert report['worst_class'] == {'name': 'dog|wolf', 'recall': 0.5}
    page = page_in(tmp_path)
    assert '| recall of the worst class | 50.00 % (dog\\|wolf) |' in page.splitlines()


def test_calibration_worked_out_by_hand(tmp_path):
    # In bins of a fifteenth: 0.6 (wrong) alone, four of 0.7 (right), 0.8 (wrong) alone.
    report = report_on(tmp_path)
    assert report['ece'] == pytest.approx((1 * 0.6 + 4 * 0.3 + 1 * 0.8) / 6, abs=1e-6)
    assert '| calibration error (ECE, 15 bins) | 43.33 % |' in page_in(tmp_path)


def test_corruptions_are_told_where_they_were_measured(tmp_path):
    robustness = {'mean_accuracy': 0.4, 'accuracy': {'shot_noise': [0.5, 0.4], 'jpeg': [0.5, 0.2]}}
    assert report_on(tmp_path, robustness=robustness)['robustness'] == robustness
    page = page_in(tmp_path).splitlines()
    assert '| mean accuracy under corruptions | 40.00 % |' in page
    assert '| jpeg | 50.00 % | 20.00 % | 35.00 % |' in page
    assert (tmp_path / 'corruptions.png').exists()
    assert 'robustness' not in report_on(tmp_path)
    assert not (tmp_path / 'corruptions.png').exists()


def test_json_is_the_report(tmp_path):
    report = report_on(tmp_path / 'deep' / 'report')
    assert json.loads((tmp_path / 'deep' / 'report' / 'report.json').read_text(encoding='utf-8')) == report


def test_top5_counts_the_classes_ranked_above(tmp_path):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(12), size=200).astype(np.float32)
    labels = rng.integers(0, 11, size=200)  # the last class is absent
    above = (probabilities > probabilities[np.arange(200), labels][:, None]).sum(axis=1)
    report = report_on(tmp_path, labels, probabilities, [f'class {index}' for index in range(12)])
    assert report['top5_accuracy'] == pytest.approx((above < 5).mean())
    assert report['accuracy'] == pytest.approx((above == 0).mean())
    assert report['top5_accuracy'] > report['accuracy']


@pytest.mark.parametrize('classes', [2, 5, 6])
def test_few_classes(tmp_path, classes):
    labels, probabilities = right(3 * classes, classes)
    report = report_on(tmp_path, labels, probabilities, [str(index) for index in range(classes)])
    assert report['top5_accuracy'] == report['accuracy'] == 1.0
    assert report['confusion_matrix'] == (3 * np.eye(classes)).tolist()
    assert ('top-5' in (tmp_path / 'report.md').read_text()) == (classes > 5)  # of five classes it says nothing


def test_a_split_with_a_single_class_of_two(tmp_path):
    report = report_on(tmp_path, np.array([1, 1]), np.array([[0.2, 0.8], [0.6, 0.4]]), ['no', 'yes'])
    assert report['confusion_matrix'] == [[0, 0], [1, 1]]
    assert report['per_class']['no']['support'] == 0


def test_classes_may_be_called_like_the_averages(tmp_path):
    names = ['accuracy', 'macro avg', 'weighted avg', 'support']
    report = report_on(tmp_path, names=names)
    assert list(report['per_class']) == names
    assert report['per_class']['accuracy']['recall'] == pytest.approx(2 / 3)


def test_an_impossible_label_makes_the_loss_infinite(tmp_path):
    probabilities = np.full((6, 6), 0.2)
    probabilities[:, 0] = 0.0
    report = report_on(tmp_path, np.zeros(6, int), probabilities, list('abcdef'))
    assert report['loss'] is None
    assert report['top5_accuracy'] == 0.0
    assert 'infinite' in page_in(tmp_path)


def test_the_most_confident_mistakes_come_first(tmp_path):
    asked = []

    def pictures(indices):
        asked.append(indices.tolist())
        return grey_pictures(indices)

    report_on(tmp_path, mistake_images=pictures)
    assert asked == [[4, 2]]


def test_at_most_25_mistakes_are_shown(tmp_path):
    confidence = np.linspace(0.6, 0.9, 40)
    shown = []

    def pictures(indices):
        shown.extend(indices)
        return grey_pictures(indices)

    report_on(
        tmp_path, np.zeros(40, int), np.stack([1 - confidence, confidence], axis=1), ['a', 'b'], mistake_images=pictures
    )
    assert shown == list(range(39, 14, -1))


def test_page_links_only_pictures_that_exist(tmp_path):
    report_on(tmp_path)
    page = page_in(tmp_path)
    assert set(re.findall(r'!\[[^]]*\]\(([^)]*)\)', page)) == PICTURES
    assert set(os.listdir(tmp_path)) == PICTURES | {'report.json', 'report.md'}
    for name in PICTURES:
        with Image.open(tmp_path / name) as picture:
            assert picture.format == 'PNG' and min(picture.size) > 100
            assert len(set(picture.convert('L').resize((50, 50)).tobytes())) > 5
        assert (tmp_path / name).stat().st_size < 300_000


def test_page_says_what_was_measured(tmp_path):
    report_on(tmp_path)
    page = page_in(tmp_path)
    assert page.startswith('# Evaluation of x\n\n```\npython -m dsconv.evaluate --workdir=runs/x\n```\n')
    for line in (
        '| accuracy | 66.67 % |',
        '| parameters | 594,186 |',
        '| checkpoint | step 1,200 |',
        '| cat → dog\\|wolf | 1 |',
        '| dog\\|wolf → été | 1 |',
    ):
        assert line in page.splitlines()
    assert re.search(r'^ +absent +0\.0000 +0\.0000 +0\.0000 +0$', page, re.MULTILINE)


def test_the_ten_most_confused_pairs(tmp_path):
    labels = np.repeat(np.zeros(11, int), np.arange(1, 12))
    predictions = np.repeat(np.arange(1, 12), np.arange(1, 12))  # class 0 is taken for class k k times
    report_on(tmp_path, labels, np.eye(12)[predictions], [f'c{index}' for index in range(12)], metrics=[])
    page = page_in(tmp_path)
    assert re.findall(r'\| c0 → c(\d+) \| (\d+) \|', page) == [(str(k), str(k)) for k in range(11, 1, -1)]


def test_pictures_of_an_earlier_report_go(tmp_path):
    report_on(tmp_path)
    labels, probabilities = right(8, 4)
    report_on(tmp_path, labels, probabilities, metrics=[], mistake_images=lambda indices: pytest.fail('no mistakes'))
    assert set(os.listdir(tmp_path)) == {'confusion_matrix.png', 'reliability.png', 'report.json', 'report.md'}
    page = page_in(tmp_path)
    assert 'curves.png' not in page and 'mistakes.png' not in page and '→' not in page


def test_an_interrupted_report_leaves_whole_files(tmp_path, monkeypatch):
    report_on(tmp_path)
    before = (tmp_path / 'report.json').read_bytes()
    replace, done = os.replace, []

    def killed_at_the_third(source, target):
        done.append(target)
        if len(done) == 3:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, 'replace', killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        report_on(tmp_path, checkpoint_step=9)
    assert (tmp_path / 'report.json').read_bytes() == before
    for name in PICTURES:
        Image.open(tmp_path / name).verify()


def test_an_empty_split_is_refused(tmp_path):
    with pytest.raises(InputError, match="'test' has no examples"):
        report_on(tmp_path, np.zeros(0, int), np.zeros((0, 4)))


def test_a_diverged_model_is_refused(tmp_path):
    with pytest.raises(RunError, match='diverged'):
        report_on(tmp_path, probabilities=np.where(LABELS[:, None] == 2, np.nan, PROBABILITIES))


@pytest.mark.parametrize(
    ('labels', 'names'), [(LABELS[:5], NAMES), (LABELS, NAMES[:3]), (LABELS + 2, NAMES), (LABELS - 1, NAMES)]
)
def test_arguments_that_do_not_fit_are_refused(tmp_path, labels, names):
    with pytest.raises(ValueError):
        report_on(tmp_path / 'none', labels, names=names)
    assert not (tmp_path / 'none').exists()
