"""What a notebook is sent, by a display that keeps it. tests/test_notebooks.py shows it in a real one."""

import html
import io
import re
import threading
import time

import IPython.display
import pytest
from PIL import Image

from dsconv.errors import InputError
from dsconv.reporting import MetricsLog
from dsconv.reporting.notebook import framed, live_curves, table


@pytest.fixture
def shown(monkeypatch):
    """The pictures that IPython's display, or the handle that it returns, is given."""
    pictures = []

    class Handle:
        def update(self, picture):
            pictures.append(picture.data)
            time.sleep(0.2)  # a slow page: what is logged meanwhile is still to be drawn

    monkeypatch.setattr(IPython.display, 'display', lambda first, display_id: Handle() if display_id else None)
    return pictures


def test_curves_are_drawn_while_the_run_goes_on_and_once_more_at_its_end(shown, tmp_path):
    with live_curves(tmp_path, seconds=0.01), MetricsLog(tmp_path, restored_step=0, tensorboard=False) as log:
        log.write(step=1, epoch=1, split='train', loss=2.0)
        deadline = time.monotonic() + 60
        while not shown and time.monotonic() < deadline:
            time.sleep(0.01)
        log.write(step=2, epoch=2, split='train', loss=1.0)
    first, *_, last = shown
    assert first != last and Image.open(io.BytesIO(last)).format == 'PNG'


def test_a_run_without_metrics_shows_no_picture_and_an_error_ends_the_watch(shown, tmp_path):
    before = set(threading.enumerate())
    with pytest.raises(InputError), live_curves(tmp_path / 'missing', seconds=60):
        raise InputError('the training failed')
    assert not shown and set(threading.enumerate()) <= before


def test_a_framed_page_is_the_page_and_a_table_its_first_rows_as_text(tmp_path):
    page = '<style>body { margin: 0 }</style><img src="a&b.png"><p>\'ü\'</p>'
    (tmp_path / 'page.html').write_text(page, encoding='utf-8')
    data = framed(tmp_path / 'page.html', height=300).data
    (source,) = re.findall('srcdoc="([^"]*)"', data)
    assert html.unescape(source) == page and '<style>' not in data and 'height="300"' in data
    (tmp_path / 'table.csv').write_text('path,class\n<b>.png,"cat, big"\n007,dog\nmore,dog\n', encoding='utf-8')
    cells = re.findall('<t[hd][^>]*>(.*?)</t[hd]>', table(tmp_path / 'table.csv', rows=2).data)
    assert [html.unescape(cell).strip() for cell in cells] == ['path', 'class', '<b>.png', 'cat, big', '007', 'dog']
