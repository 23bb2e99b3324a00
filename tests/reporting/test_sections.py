import markdown
import numpy as np
import pytest

from dsconv.reporting.markdown import paragraphs, plain
from dsconv.reporting.scores import scores
from dsconv.reporting.sections import Section, headline, percent, sections


def report_of(labels, predictions, names, **more):
    confidences = np.log(np.eye(len(names))[predictions] * 0.9 + 0.1 / len(names))
    about = {'dataset': 'pets', 'split': 'test', 'checkpoint_step': 1200, 'parameters': 594186}
    return about | scores(labels, confidences, names) | more


def test_the_headline():
    report = report_of(np.array([0, 0, 1]), np.array([0, 1, 1]), ['a|b', '*c*'], data_fingerprint='f00')
    rows = dict(headline(report))
    assert (rows['accuracy'], rows['balanced accuracy'], rows['checkpoint']) == ('66.67 %', '75.00 %', 'step 1,200')
    assert rows['recall of the worst class'] == '50.00 % (a|b)'
    assert (rows['parameters'], rows['data fingerprint']) == ('594,186', 'f00')
    assert not {'top-5 accuracy', 'mean accuracy under corruptions'} & set(rows)  # of two classes; not measured
    assert 'temperature' not in rows  # of a report of an earlier version
    assert dict(headline(report | {'calibration': None}))['temperature'].startswith('none: it is fitted on a')
    assert dict(headline(report | {'loss': None}))['loss (cross-entropy, nats)'] == 'infinite'
    six = report_of(np.arange(6), np.arange(6), list('abcdef'))
    assert dict(headline(six))['top-5 accuracy'] == '100.00 %'


def test_the_ten_most_confused_pairs():
    predictions = np.repeat(np.arange(1, 12), np.arange(1, 12))  # class 0 is taken for class k k times
    report = report_of(np.zeros(len(predictions), int), predictions, [f'c{index}' for index in range(12)])
    classes = next(section for section in sections(report, []) if section.title == 'Classes')
    assert classes.table[1] == [(f'c0 → c{k}', k) for k in range(11, 1, -1)]


def test_a_class_without_examples_has_no_recall():
    report = report_of(np.array([0, 0, 1]), np.array([0, 2, 1]), ['cat', 'dog', 'cow', 'hen'])
    lines = next(section for section in sections(report, []) if section.title == 'Classes').code.splitlines()
    assert [line.split() for line in lines[2:6]] == [
        ['cat', '1.0000', '0.5000', '0.6667', '2'],
        ['dog', '1.0000', '1.0000', '1.0000', '1'],
        ['cow', '0.0000', '–', '–', '0'],
        ['hen', '0.0000', '–', '–', '0'],
    ]


def test_corruptions_and_whose_they_are():
    robustness = {
        'source': 'made here',
        'mean_accuracy': 0.4,
        'accuracy': {'shot_noise': [0.5, 0.4], 'jpeg': [0.5, 0.2]},
    }
    report = report_of(np.arange(2), np.arange(2), ['a', 'b'], robustness=robustness)
    *_, section = sections(report, ['corruptions.png'])
    assert section.table == (
        ['severity', '1', '2', 'mean'],
        [['shot noise', '50.00 %', '40.00 %', '45.00 %'], ['jpeg', '50.00 %', '20.00 %', '35.00 %']],
    )
    assert section.text == ('Without corruption 100.00 %, mean over all corruptions 40.00 %. Corruptions: made here.')
    assert dict(headline(report))['mean accuracy under corruptions'] == '40.00 %'


def test_what_a_threshold_answers():
    labels, predictions = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    certain = np.log(np.eye(2)[predictions] * 0.7 + 0.15)  # 0.85
    report = report_of(labels, predictions, ['a', 'b']) | scores(
        labels, np.where([[0], [1], [1], [1]], certain, -0.69), 'ab'
    )
    (section,) = [section for section in sections(report, []) if section.title == 'Calibration']
    assert section.table[1][:3] == [
        ('0 %', '100.00 %', '75.00 %'),
        ('50 %', '100.00 %', '75.00 %'),
        ('60 %', '75.00 %', '66.67 %'),
    ]
    assert section.table[1][-1] == ('99 %', '0.00 %', None)


def test_sections_without_content_are_left_out():
    report = report_of(np.arange(2), np.arange(2), ['a', 'b'])
    assert [section.title for section in sections(report, ['curves.png'])] == ['Training', 'Classes', 'Calibration']


@pytest.mark.parametrize('text', ['*a* **b**', '_a_ __b__', '`a`', '[a](b)', '<u>a</u>', '&lt;', 'a\\*b\\'])
def test_plain_text_is_shown_as_it_is(text):
    shown = text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
    assert markdown.markdown(f'x {plain(text)} y') == f'<p>x {shown} y</p>'


def test_plain_text_is_a_line_without_strikethrough():
    assert plain('a\n\n# b\tc') == 'a # b c'
    assert '~' not in plain('~~a~~')  # which GitHub strikes through, and Python-Markdown does not know


def test_a_section_as_markdown():
    section = Section('Title', 'a.png', 'Caption', 'code *', 'text *', (['x'], [['*'], [1]]))
    assert paragraphs(section, '###', 'run-1')[:4] == [
        '### Title', '![Caption](run-1/a.png)', '```\ncode *\n```', 'text \\*'
    ]  # fmt: skip
    assert '\\*' in paragraphs(section)[4]


def test_percent_has_two_places():
    assert [percent(share) for share in (0, 0.98125, 1)] == ['0.00 %', '98.12 %', '100.00 %']
