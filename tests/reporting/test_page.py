import base64
import json
import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

import numpy as np
import pytest

from dsconv.errors import InputError
from dsconv.reporting import write_report
from dsconv.reporting.page import read_report, write_page

HOSTILE = [
    '<b>x</b>',
    '_a_ *b* [c](d) `e`',
    'f|g & <script>h</script>',
    '四角形',
    '~~k~~',
    'l\\',
    '<img src="../secret">',
]
COMMAND = "python -m dsconv.main --config=configs/small.py '--config.dataset.name=image_folder:<i>&'"


class Reader(HTMLParser):
    """What a browser would show: the tags, the links, the text of every cell of every table."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.tables, self.text, self.cell = [], [], [], '', False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag == 'table':
            self.tables.append([])
        elif tag == 'tr':
            self.tables[-1].append([])
        elif tag in ('td', 'th'):
            self.tables[-1][-1].append('')
            self.cell = True

    def handle_data(self, data):
        self.text += data
        if self.cell:
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag):
        self.cell = self.cell and tag not in ('td', 'th')


def make_workdir(path, names=HOSTILE, dataset='pets', robust=None, epochs=3):
    """A finished run with a report: every class once right, the first taken for the others as well."""
    labels = np.concatenate([np.arange(len(names)), np.zeros(len(names) - 1, int)])
    predictions = np.concatenate([np.arange(len(names)), np.arange(1, len(names))])
    metrics = [{'step': 10 * epoch, 'epoch': float(epoch), 'split': 'test', 'loss': 1.0} for epoch in (1, 2, 3)]
    write_report(
        path / 'report',
        dataset=dataset,
        split='test',
        labels=labels,
        log_probabilities=np.log(np.eye(len(names))[predictions] * 0.9 + 0.1 / len(names)).astype(np.float32),
        class_names=names,
        mistake_images=lambda indices: np.zeros((len(indices), 4, 4, 3), np.uint8),
        checkpoint_step=20,
        parameters=1234567,
        metrics=metrics,
        command=COMMAND,
        title='t',
        robustness=robust,
    )
    (path / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, metrics)) + '\n')
    run = {'config': {'model': {'name': 'dsconv'}, 'epochs': epochs}, 'command': COMMAND, 'devices': '8 × v3'}
    (path / 'config.json').write_text(json.dumps(run))
    return path


ROBUST = {'mean_accuracy': 0.4321, 'accuracy': {'shot_noise': [0.5, 0.4], 'jpeg': [0.6, 0.2284]}}


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """Two runs, the first under corruptions; (directory, Markdown, HTML)."""
    directory = tmp_path_factory.mktemp('page')
    first = make_workdir(directory / 'a_run_', robust=ROBUST)
    second = make_workdir(directory / 'b', names=['no', 'yes'], dataset='image_folder:<u>v</u>')
    output = directory / 'deep' / 'out'
    write_page(output, [first, second])
    return output, (output / 'report.md').read_text(encoding='utf-8'), (output / 'report.html').read_text('utf-8')


def test_html_needs_nothing_else(page):
    output, _, html = page
    attributes = Reader(html).attributes
    sources = [value for name, value in attributes if name == 'src']
    pictures = {path.read_bytes() for path in output.glob('run-*/*.png')}
    assert len(sources) == 5 + 4
    assert {base64.b64decode(source.removeprefix('data:image/png;base64,')) for source in sources} == pictures
    anchors = {value for name, value in attributes if name == 'id'}
    links = [value for name, value in attributes if name == 'href']
    assert sorted(links) == sorted(f'#{anchor}' for anchor in anchors) == ['#run-1', '#run-2']
    assert not re.search(r'@import|url\(|<script|<link', html)
    assert not any(urlsplit(value or '').netloc for _, value in attributes)


def test_names_are_shown_and_not_obeyed(page):
    _, _, html = page
    reader = Reader(html)
    assert not {'b', 'i', 'u', 'em', 'strong', 'del', 'script'} & set(reader.tags)
    cells = [cell for table in reader.tables for row in table for cell in row]
    for name in HOSTILE[1:]:
        assert f'{HOSTILE[0]} → {name}' in cells
        assert name in reader.text
    assert 'image_folder:<u>v</u>' in cells
    assert any(cell.endswith('a_run_') for cell in cells)
    assert reader.text.count(COMMAND) == 2


def test_overview_has_a_row_a_run(page):
    header, first, second = Reader(page[2]).tables[0]
    first, second = dict(zip(header, first, strict=True)), dict(zip(header, second, strict=True))
    assert (first['dataset'], first['parameters'], first['images'], first['epochs']) == (
        'pets',
        '1,234,567',
        '13',
        '2 of 3',
    )
    assert (first['accuracy'], first['corrupted'], second['corrupted']) == ('53.85 %', '43.21 %', '-')
    assert (first['worst class'], second['worst class']) == (f'14.29 % ({HOSTILE[0]})', '50.00 % (no)')
    # each of 13 predictions has the confidence 0.9 + 0.1 / 7, each of 3 has 0.9 + 0.1 / 2
    assert (first['ECE'], second['ECE']) == ('37.58 %', '28.33 %')
    assert second['top-5'] == '-' != first['top-5']


def test_a_column_that_says_nothing_is_left_out(tmp_path):
    write_page(tmp_path, [make_workdir(tmp_path / 'run', names=['no', 'yes'])])
    header = Reader((tmp_path / 'report.html').read_text('utf-8')).tables[0][0]
    assert not {'corrupted', 'top-5'} & set(header)


def test_markdown_says_the_same(page):
    output, text, html = page
    for path in re.findall(r'!\[[^]]*\]\(([^)]*)\)', text):
        assert (output / path).exists()
    assert re.findall('^### (.*)$', text, re.MULTILINE) == re.findall('<h3>(.*)</h3>', html)
    assert '| shot noise | 50.00 % | 40.00 % | 45.00 % |' in re.sub(' +', ' ', text).splitlines()
    assert '| devices | 8 × v3 |' in re.sub(' +', ' ', text).splitlines()


def test_a_name_with_bytes_that_are_no_text(tmp_path):
    workdir = make_workdir(tmp_path / 'run', names=['a\udcff', 'b'])
    write_page(tmp_path, [workdir])
    assert 'a\\udcff' in (tmp_path / 'report.html').read_text('utf-8')


def test_reports_that_are_missing_old_or_damaged(tmp_path):
    workdir = make_workdir(tmp_path)
    file = workdir / 'report' / 'report.json'
    report = json.loads(file.read_text('utf-8'))
    assert read_report(workdir) == report
    file.write_text(json.dumps({name: value for name, value in report.items() if name != 'ece'}))
    assert read_report(workdir) is None
    for damage in ('{"accuracy": 0.', '[1]', '"x"', ''):
        file.write_text(damage)
        with pytest.raises(InputError, match=r'report.json is damaged .*dsconv.evaluate --workdir='):
            read_report(workdir)
    file.unlink()
    assert read_report(workdir) is None
