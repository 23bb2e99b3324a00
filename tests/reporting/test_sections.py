import markdown
import numpy as np
import pytest

from dsconv.reporting.markdown import paragraphs, plain
from dsconv.reporting.scores import scores
from dsconv.reporting.sections import Section, headline, sections


def report_of(labels, predictions, names, sure=0.9, **more):
    share = np.asarray(sure)[..., None]
    confidences = np.log(np.eye(len(names))[predictions] * share + (1 - share) / len(names))
    about = {'dataset': 'pets', 'split': 'test', 'checkpoint_step': 1200, 'parameters': 594186}
    return about | scores(np.asarray(labels), confidences, names) | more


def section(report, title):
    return next(one for one in sections(report, []) if one.title == title)


def test_the_headline():
    report = report_of([0, 0, 1], [0, 1, 1], ['a|b', '*c*'], data_fingerprint='f00')
    rows = dict(headline(report))
    assert (rows['accuracy'], rows['balanced accuracy'], rows['checkpoint']) == ('66.67 %', '75.00 %', 'step 1,200')
    assert rows['recall of the worst class'] == '50.00 % (a|b)'
    assert (rows['parameters'], rows['data fingerprint']) == ('594,186', 'f00')
    # Of two classes; not measured; of a report of an earlier version.
    assert not {'top-5 accuracy', 'mean accuracy under corruptions', 'temperature'} & set(rows)
    rows = dict(headline(report | {'calibration': None, 'loss': None}))
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


def test_corruptions_and_whose_they_are():
    accuracy = {'shot_noise': [0.5, 0.4], 'jpeg': [0.5, 0.2]}
    robustness = {'source': 'made here', 'mean_accuracy': 0.4, 'accuracy': accuracy}
    report = report_of(range(2), range(2), ['a', 'b'], robustness=robustness)
    *others, last = sections(report, ['corruptions.png'])
    assert [other.title for other in others] == ['Classes', 'Calibration']  # no curves: nothing of the training
    assert last.table == (
        ['severity', '1', '2', 'mean'],
        [['shot noise', '50.00 %', '40.00 %', '45.00 %'], ['jpeg', '50.00 %', '20.00 %', '35.00 %']],
    )
    assert last.text == 'Without corruption 100.00 %, mean over all corruptions 40.00 %. Corruptions: made here.'


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


def test_a_section_as_markdown():
    written = paragraphs(
        Section('Title', 'a.png', 'Caption', 'code *', 'text *', (['x'], [['*'], [1]])), '###', 'run-1'
    )
    assert written[:4] == ['### Title', '![Caption](run-1/a.png)', '```\ncode *\n```', 'text \\*']
    assert '\\*' in written[4]
