import markdown
import numpy as np
import pytest

from dsconv.reporting.markdown import plain
from dsconv.reporting.scores import scores
from dsconv.reporting.sections import headline, sections


def report_of(labels, predictions, names, sure=0.9, **more):
    share = np.asarray(sure)[..., None]
    confidences = np.log(np.eye(len(names))[predictions] * share + (1 - share) / len(names))
    about = {'dataset': 'pets', 'split': 'test', 'checkpoint_step': 1200, 'parameters': 594186, 'calibration': None}
    return about | scores(np.asarray(labels), confidences, names) | more


def section(report, title):
    return next(one for one in sections(report, []) if one.title == title)


def test_the_headline():
    report = report_of([0, 0, 1], [0, 1, 1], ['a|b', '*c*'], data_fingerprint='f00')
    rows = dict(headline(report))
    assert (rows['accuracy'], rows['balanced accuracy'], rows['checkpoint']) == ('66.67 %', '75.00 %', 'step 1,200')
    assert rows['recall of the worst class'] == '50.00 % (a|b)'
    assert (rows['parameters'], rows['data fingerprint']) == ('594,186', 'f00')
    assert not {'top-5 accuracy', 'mean accuracy under corruptions'} & set(rows)  # of two classes; not measured
    rows = dict(headline(report | {'loss': None}))
    assert rows['temperature'].startswith('none: it is fitted on a') and 'infinite' in rows.values()
    assert dict(headline(report_of(range(6), range(6), list('abcdef'))))['top-5 accuracy'] == '100.00 %'


def test_the_ten_most_confused_pairs_and_no_recall_of_a_class_without_examples():
    predictions = np.repeat(np.arange(1, 12), np.arange(1, 12))  # class 0 is taken for class k k times
    report = report_of(np.zeros(len(predictions), int), predictions, [f'c{index}' for index in range(12)])
    assert section(report, 'Classes').table[1] == [(f'c0 → c{k}', k) for k in range(11, 1, -1)]
    lines = section(report_of([0, 0, 1], [0, 2, 1], ['cat', 'dog', 'cow']), 'Classes').code.splitlines()
    assert [line.split() for line in lines[2:5]] == [
        ['cat', '1.0000', '0.5000', '0.6667', '2'],
        ['dog', '1.0000', '1.0000', '1.0000', '1'],
        ['cow', '0.0000', '–', '–', '0'],
    ]
    lines = section(report_of([0, 1], [1, 0], ['cat', 'd\nog', 'cow']), 'Classes').code.splitlines()
    assert [line.split()[-1] for line in lines[2:5]] == ['1', '1', '0'] and '–' in lines[4]


def test_what_a_threshold_answers():
    report = report_of([0, 0, 1, 1], [0, 1, 1, 1], ['a', 'b'], sure=[0, 0.7, 0.7, 0.7])  # 0.5 and 0.85
    rows = section(report, 'Calibration').table[1]
    assert rows[0] == ('0 %', '100.00 %', '75.00 %')
    assert rows[2] == ('60 %', '75.00 %', '66.67 %')
    assert rows[-1] == ('99 %', '0.00 %', None)


@pytest.mark.parametrize('text', ['*a* **b**', '_a_ __b__', '`a`', '[a](b)', '<u>a</u>', '&lt;', 'a\\*b\\'])
def test_plain_text_is_shown_as_it_is(text):
    shown = text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
    assert markdown.markdown(f'x {plain(text)} y') == f'<p>x {shown} y</p>'
    assert '~' not in plain('~~a~~')  # which GitHub strikes through, and Python-Markdown does not know
