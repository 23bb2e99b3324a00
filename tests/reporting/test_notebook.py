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


class Display:
    """Stands for IPython's display and for the handle that it returns."""

    def __init__(self):
        self.pictures, self.updated = [], threading.Event()

    def __call__(self, first, display_id):
        assert display_id
        return self

    def update(self, picture):
        self.pictures.append(picture.data)
        self.updated.set()
        time.sleep(0.2)  # a slow page: what is logged meanwhile is still to be drawn


@pytest.fixture
def display(monkeypatch):
    display = Display()
    monkeypatch.setattr(IPython.display, 'display', display)
    return display


def test_curves_are_drawn_while_the_run_goes_on_and_once_more_at_its_end(display, tmp_path):
    with (
        live_curves(tmp_path / 'run', seconds=0.01),
        MetricsLog(tmp_path / 'run', restored_step=0, tensorboard=False) as log,
    ):
        log.write(step=1, epoch=1, split='train', loss=2.0)
        assert display.updated.wait(60)
        log.write(step=2, epoch=2, split='train', loss=1.0)
    first, *_, last = display.pictures
    assert first != last
    assert Image.open(io.BytesIO(last)).format == 'PNG'


def test_a_run_without_metrics_shows_no_picture_and_an_error_ends_the_watch(display, tmp_path):
    before = threading.active_count()
    with pytest.raises(InputError), live_curves(tmp_path / 'missing', seconds=60):
        raise InputError('the training failed')
    assert (display.pictures, threading.active_count()) == ([], before)


def test_a_framed_page_is_the_page(tmp_path):
    page = '<style>body { margin: 0 }</style><img src="a&b.png"><p>\'ü\'</p>'
    (tmp_path / 'page.html').write_text(page, encoding='utf-8')
    shown = framed(tmp_path / 'page.html', height=300).data
    (source,) = re.findall('srcdoc="([^"]*)"', shown)
    assert html.unescape(source) == page
    assert '<style>' not in shown and 'height="300"' in shown


def test_a_table_is_its_first_rows_as_text_and_no_markup(tmp_path):
    (tmp_path / 'table.csv').write_text('path,class\n<b>.png,"cat, big"\n007,dog\nmore,dog\n', encoding='utf-8')
    cells = re.findall('<t[hd][^>]*>(.*?)</t[hd]>', table(tmp_path / 'table.csv', rows=2).data)
    assert [html.unescape(cell).strip() for cell in cells] == ['path', 'class', '<b>.png', 'cat, big', '007', 'dog']
