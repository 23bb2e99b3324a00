"""The reports of several runs on one page: Markdown, and HTML that needs no other file and no network."""

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path

from dsconv.errors import InputError
from dsconv.files import make_directory, replace_file, to_path
from dsconv.reporting.markdown import headline, mean_robust, percent, plain, sections, top5
from dsconv.reporting.metrics_log import read_metrics
from dsconv.reporting.report import PICTURES
from dsconv.reporting.table import markdown_table

COLUMNS = (
    'run',
    'dataset',
    'split',
    'model',
    'parameters',
    'images',
    'accuracy',
    'top-5',
    'worst class',
    'ECE',
    'corrupted',
    'epochs',
)
NEEDED = {
    'dataset',
    'split',
    'checkpoint_step',
    'parameters',
    'command',
    'num_examples',
    'accuracy',
    'top5_accuracy',
    'loss',
    'ece',
    'worst_class',
    'macro_average',
    'class_names',
    'confusion_matrix',
}
HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
<main>
{body}
</main>
</html>
"""


def read_report(workdir: Path) -> dict | None:
    """A run's `report/report.json`; None where there is no report, or one of an earlier version that says less.

    Raises InputError for a damaged one.
    """
    file = to_path(workdir) / 'report' / 'report.json'
    if not file.exists():
        return None
    try:
        report = dict(json.loads(file.read_text(encoding='utf-8')))
    except (ValueError, TypeError) as error:
        raise InputError(
            f'{file} is damaged ({error}): write it anew by python -m dsconv.evaluate --workdir={workdir}'
        ) from error
    return report if report.keys() >= NEEDED else None


def write_page(output: Path, workdirs: Sequence[Path]) -> None:
    """Writes `report.md`, with the pictures in `run-1/`, `run-2/`, …, and `report.html`, in which they are contained.

    Args:
      output: a directory, made when missing.
      workdirs: of runs of which each has a report that `read_report` reads.
    """
    rows, parts = [], []
    for number, workdir in enumerate(workdirs, start=1):
        report, run = read_report(workdir), json.loads((workdir / 'config.json').read_text(encoding='utf-8'))
        anchor = f'run-{number}'
        pictures = [name for name in PICTURES if (workdir / 'report' / name).exists()]
        make_directory(output / anchor)
        for name in pictures:
            replace_file(output / anchor / name, (workdir / 'report' / name).read_bytes())
        rows.append([f'[{plain(workdir)}](#{anchor})', *_overview(report, run, read_metrics(workdir))])
        parts += [
            f'## <a id="{anchor}"></a>{plain(workdir)}',
            *_commands(report, run),
            markdown_table(['', 'value'], [*headline(report), *_made_by(run)]),
            *sections(report, pictures, '###', anchor),
        ]
    title = f'{len(rows)} trained networks' if len(rows) > 1 else 'A trained network'
    text = '\n\n'.join([f'# {title}', markdown_table(*_without_empty(COLUMNS, rows)), *parts]) + '\n'
    replace_file(output / 'report.md', text.encode(errors='backslashreplace'))
    replace_file(output / 'report.html', to_html(text, output, title).encode(errors='backslashreplace'))


def to_html(text: str, directory: Path, title: str) -> str:
    """Markdown as one page of HTML that contains its pictures, whose paths are taken from `directory`."""
    import markdown

    def contained(picture):
        content = base64.b64encode((directory / picture[2]).read_bytes()).decode()
        return f'{picture[1]}"data:image/png;base64,{content}"'

    body = markdown.markdown(text, extensions=['fenced_code', 'tables'])
    body = re.sub('(<img [^>]*src=)"([^"]*)"', contained, body)  # a name with src=" has no <
    body = re.sub('<h3>.*?(?=<h[23]>|$)', r'<section>\g<0></section>', body, flags=re.DOTALL)
    style = Path(__file__).with_name('page.css').read_text(encoding='utf-8')
    return HTML.format(title=title, style=style, body=body)


def _overview(report: dict, run: dict, metrics: list[dict]) -> list:
    """A run's cells under COLUMNS, the first apart."""
    worst, config = report['worst_class'], run['config']
    trained = max((line['epoch'] for line in metrics if line['step'] <= report['checkpoint_step']), default=0)
    return [
        plain(report['dataset']),
        report['split'],
        plain(config['model']['name']),
        report['parameters'],
        report['num_examples'],
        percent(report['accuracy']),
        top5(report),
        f'{percent(worst["recall"])} ({plain(worst["name"])})',
        percent(report['ece']),
        mean_robust(report),
        f'{trained:g} of {config["epochs"]}',
    ]


def _without_empty(header: Sequence[str], rows: list[list]) -> tuple[list, list]:
    """The columns in which something stands."""
    filled = [column for column in zip(header, *rows, strict=True) if any(cell is not None for cell in column[1:])]
    header, *rows = map(list, zip(*filled, strict=True))
    return header, rows


def _commands(report: dict, run: dict) -> list[str]:
    trained, scored = run.get('command'), report['command']
    parts = ['Trained by', f'```\n{trained}\n```'] if trained else []
    return parts if scored == trained else [*parts, 'Scored by', f'```\n{scored}\n```']


def _made_by(run: dict) -> list[tuple[str, str]]:
    """Where and by what a run was trained, as rows of a table."""
    versions = ', '.join(f'{name} {version}' for name, version in run.get('versions', {}).items())
    rows = [('devices', run.get('devices')), ('git revision', run.get('git_revision')), ('versions', versions)]
    return [(name, plain(value)) for name, value in rows if value]
