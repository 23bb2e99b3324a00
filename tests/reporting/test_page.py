import base64
import json
import re
from html import unescape
from urllib.parse import urlsplit

import numpy as np
import pytest

from dsconv.errors import InputError
from dsconv.reporting import write, write_report
from dsconv.reporting.page import read_report, write_page

HOSTILE = ['<b>&', '_a_ *b* [c](d) `e`', 'f|g & <script>h</script>', '四角形', '~~k~~', 'l\\', '{{ 7 * 7 }}']
HOSTILE += ['<img src="../secret">']
COMMAND = "python -m dsconv.main --config=configs/small.py '--config.dataset.name=image_folder:<i>&'"
ROBUST = {'source': 'made here', 'mean_accuracy': 0.4321, 'accuracy': {'shot_noise': [0.5, 0.4], 'jpeg': [0.6, 0.2284]}}


def shown(html):
    """The text of a page."""
    return unescape(re.sub('<[^>]*>', '', html))


def rows_of(html):
    """The text of each cell of each row of its tables."""
    cells = re.compile(r'<t[hd]\b[^>]*>(.*?)</t[hd]>', re.DOTALL)
    return [list(map(shown, cells.findall(row))) for row in html.split('<tr>')[1:]]


def make_workdir(path, names=HOSTILE, dataset='pets', robust=None):
    """A finished run with a report: every class once right, the first taken for the others as well."""
    labels = np.concatenate([np.arange(len(names)), np.zeros(len(names) - 1, int)])
    predictions = np.concatenate([np.arange(len(names)), np.arange(1, len(names))])
    metrics = [{'step': 10 * epoch, 'epoch': float(epoch), 'split': 'train', 'loss': 1.0} for epoch in (1, 2, 3)]
    with pytest.MonkeyPatch.context() as patch:
        files = set(write.PICTURES) - (set() if robust else {'corruptions.png'})
        patch.setattr(write, '_draw', lambda *_: {name: f'{path} {name}'.encode() for name in files})
        write_report(
            path / 'report', dataset=dataset, split='test', labels=labels, class_names=names, mistake_images=None,
            log_probabilities=np.log(np.eye(len(names))[predictions] * 0.9 + 0.1 / len(names)).astype(np.float32),
            checkpoint_step=20, parameters=1234567, metrics=metrics, command=COMMAND, title='t', robustness=robust,
        )  # fmt: skip
    (path / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, metrics)) + '\n')
    run = {'config': {'model': {'name': 'dsconv'}, 'epochs': 3}, 'command': COMMAND, 'devices': '8 × v3'}
    (path / 'config.json').write_text(json.dumps(run))
    return path


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """Two runs, the first under corruptions; (directory, Markdown, HTML)."""
    directory = tmp_path_factory.mktemp('page')
    first = make_workdir(directory / 'a_run_', robust=ROBUST)
    second = make_workdir(directory / 'b', names=['no', 'a\udcff'], dataset='image_folder:<u>v</u>')
    output = directory / 'deep' / 'out'
    write_page(output, {first: first, second: second})
    return output, (output / 'report.md').read_text(encoding='utf-8'), (output / 'report.html').read_text('utf-8')


def test_html_needs_nothing_else(page):
    output, _, html = page
    attributes = re.findall(r' (\w+)="([^"]*)"', html)
    sources = [value for name, value in attributes if name == 'src']
    shown = [base64.b64decode(source.removeprefix('data:image/png;base64,')) for source in sources]
    assert len(shown) == 6 + 5
    assert sorted(shown) == sorted(path.read_bytes() for path in output.glob('run-*/*.png'))
    anchors = {value for name, value in attributes if name == 'id'}
    links = [value for name, value in attributes if name == 'href']
    assert sorted(links) == sorted(f'#{anchor}' for anchor in anchors) == ['#run-1', '#run-2']
    assert not re.search(r'@import|url\(|<script|<link', html)
    assert not any(urlsplit(value).netloc for _, value in attributes)


def test_names_are_shown_as_they_are(page):
    _, _, html = page
    assert not {'b', 'i', 'u', 'em', 'strong', 'del', 'script'} & set(re.findall(r'<(\w+)', html))
    cells, text = sum(rows_of(html), []), shown(html)
    for name in HOSTILE[1:]:
        assert f'{HOSTILE[0]} → {name}' in cells
        assert name in text
    assert 'image_folder:<u>v</u>' in cells
    assert any(cell.endswith('a_run_') for cell in cells)
    assert text.count(COMMAND) == 2
    assert 'a\\udcff' in text  # bytes that are no text


def test_overview_has_a_row_a_run(page, tmp_path):
    header, first, second, *_ = rows_of(page[2])
    first, second = dict(zip(header, first, strict=True)), dict(zip(header, second, strict=True))
    facts = {'dataset': 'pets', 'parameters': '1,234,567', 'images': '15', 'epochs': '2 of 3'}
    assert first | facts == first
    assert (first['accuracy'], first['corrupted'], second['corrupted']) == ('53.33 %', '43.21 %', '-')
    assert (first['worst class'], second['worst class']) == (f'12.50 % ({HOSTILE[0]})', '50.00 % (no)')
    assert second['ECE'] == '28.33 %'  # each of 3 predictions has the confidence 0.9 + 0.1 / 2
    assert second['top-5'] == '-' != first['top-5']
    alone = page[0].parents[1] / 'b'
    write_page(tmp_path, {alone: alone})  # alone: columns without a value are left out
    (alone / 'metrics.jsonl').unlink()  # as of a published network
    write_page(tmp_path / 'published', {alone: alone})
    assert 'epochs' not in (tmp_path / 'published' / 'report.md').read_text()
    assert not {'corrupted', 'top-5'} & set(rows_of((tmp_path / 'report.html').read_text('utf-8'))[0])


def test_markdown_says_the_same(page):
    output, text, html = page
    for path in re.findall(r'!\[[^]]*\]\(([^)]*)\)', text):
        assert (output / path).exists()
    assert re.findall('^### (.*)$', text, re.MULTILINE) == re.findall('<h3>(.*)</h3>', html)
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines()]
    assert 'mean over all corruptions 43.21 %. Corruptions: made here.' in text
    assert ['shot noise', '50.00 %', '40.00 %', '45.00 %'] in rows and ['devices', '8 × v3'] in rows


def test_reports_that_are_missing_old_or_damaged(page, tmp_path):
    file = tmp_path / 'report' / 'report.json'
    assert read_report(tmp_path) is None
    file.parent.mkdir()
    report = read_report(page[0].parents[1] / 'b')
    for newer, is_read in ((('ece',), False), (('balanced_accuracy', 'calibration', 'thresholds'), True)):
        file.write_text(json.dumps({name: value for name, value in report.items() if name not in newer}))
        assert (read_report(tmp_path) is not None) == is_read
    for damage in ('{"accuracy": 0.', '[1]', json.dumps(report | {'ece': ''})):
        file.write_text(damage)
        with pytest.raises(InputError, match=r'report.json is damaged .*dsconv.evaluate --workdir='):
            read_report(tmp_path)
