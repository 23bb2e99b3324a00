"""Shows a run in a notebook. IPython, which every notebook has, is imported by the functions that use it."""

import contextlib
import csv
import html
import itertools
import threading
from pathlib import Path

from dsconv.reporting.metrics_log import read_metrics


@contextlib.contextmanager
def live_curves(workdir: str | Path, seconds: float = 5.0):
    """Shows the training curves in the output of a notebook cell, and updates them while the block runs.

    `workdir` need not exist yet, and another process may train there. It is read every `seconds` seconds.
    """
    from IPython.display import Image, Markdown, display

    from dsconv.reporting import figures

    picture, over = display(Markdown('No metrics yet.'), display_id=True), threading.Event()

    def draw():
        drawn, last = [], False
        while not last:
            last = over.wait(seconds)
            metrics = read_metrics(workdir)
            if metrics != drawn:
                picture.update(Image(figures.png(figures.curves(metrics))))
                drawn = metrics

    painter = threading.Thread(target=draw)
    painter.start()
    try:
        yield
    finally:
        over.set()
        painter.join()


def framed(page: str | Path, height: int = 800):
    """Returns an HTML file as the output of a notebook cell, in a frame of `height` pixels that isolates its style."""
    from IPython.display import HTML

    content = html.escape(Path(page).read_text(encoding='utf-8'))
    return HTML(f'<div><iframe srcdoc="{content}" width="100%" height="{height}"></iframe></div>')


def table(file: str | Path, rows: int = 100):
    """Returns the first `rows` rows of a CSV file with a header as the output of a notebook cell."""
    from IPython.display import HTML
    from tabulate import tabulate

    with Path(file).open(encoding='utf-8', newline='') as lines:
        header, *first = itertools.islice(csv.reader(lines), rows + 1)
    return HTML(tabulate(first, header, 'html', disable_numparse=True))
