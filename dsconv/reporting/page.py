"""Writes the reports of several runs on one page: Markdown, and HTML that needs no other file and no network."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from dsconv.errors import InputError
from dsconv.files import describe, make_directory, replace_file, to_path
from dsconv.reporting.markdown import code_block, paragraphs, plain, plain_cells, plain_table
from dsconv.reporting.metrics_log import read_metrics
from dsconv.reporting.sections import headline, mean_robust, percent, sections, top5, worst_class
from dsconv.reporting.tables import format_cell, markdown_table
from dsconv.reporting.write import PICTURES


def read_report(workdir: Path) -> dict | None:
    """Reads `report/report.json` of a run; None if it is missing or older than 0.1.0. Raises InputError if damaged."""
    file = to_path(workdir) / 'report' / 'report.json'
    if not file.exists():
        return None
    try:
        report = {'calibration': None, 'thresholds': []} | dict(json.loads(file.read_text(encoding='utf-8')))
        report.setdefault('balanced_accuracy', report['macro_average']['recall'])  # not in 0.1.0, as the keys above
        if 'robustness' in report:
            report['robustness'].setdefault('source', 'those of dsconv 0.1')
        headline(report)  # raises if a value is invalid
        sections(report, ())
    except KeyError:  # the run is scored again
        return None
    except (ValueError, TypeError, IndexError, AttributeError, RecursionError) as error:
        command = f'python -m dsconv.evaluate --workdir={workdir}'
        raise InputError(f'{file} is damaged ({describe(error)}): write it again with {command}') from error
    return report


def write_page(output: Path, places: Mapping[Path, Path]) -> None:
    """Writes `report.md`, with pictures in `run-1/`, …, and `report.html`, which embeds them, for runs with a report.

    `places` is workdir → directory that holds the `report` of the run.
    """
    runs = [_read_run(*paths, f'run-{number}') for number, paths in enumerate(places.items(), start=1)]
    columns = [name for name in runs[0]['overview'] if any(run['overview'][name] is not None for run in runs)]
    for run in runs:
        run['overview'] = [run['overview'][name] for name in columns]
        make_directory(output / run['anchor'])
        for name, content in run['pictures'].items():
            replace_file(output / run['anchor'] / name, content)
    title = f'{len(runs)} trained networks' if len(runs) > 1 else 'A trained network'
    for name, write in {'report.md': _as_markdown, 'report.html': _as_html}.items():
        replace_file(output / name, write(title, columns, runs).encode(errors='backslashreplace'))


def _as_markdown(title: str, columns: list[str], runs: list[dict]) -> str:
    rows = [[f'[{plain(run["name"])}](#{run["anchor"]})', *plain_cells(run['overview'])] for run in runs]
    parts = [f'# {title}', markdown_table(['run', *columns], rows)]
    for run in runs:
        parts.append(f'## <a id="{run["anchor"]}"></a>{plain(run["name"])}')
        for label, command in run['commands']:
            parts += [label, code_block(command)]
        parts.append(plain_table(['', 'value'], run['facts']))
        for section in run['sections']:
            parts += paragraphs(section, '###', run['anchor'])
    return '\n\n'.join(parts) + '\n'


def _as_html(title: str, columns: list[str], runs: list[dict]) -> str:
    import jinja2

    options = dict(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), **options)
    environment.filters |= {'cell': format_cell, 'base64': lambda content: base64.b64encode(content).decode()}
    return environment.get_template('page.html').render(title=title, columns=columns, runs=runs)


def _read_run(workdir: Path, place: Path, anchor: str) -> dict:
    """Returns the content of the page for a run.

    `anchor` is the link target on the page and the directory of the pictures; `overview` is column → cell of the table
    at the top, or None if not applicable; `facts` are rows (name, value); `pictures` is file name → content.
    """
    report, run = read_report(place), json.loads((workdir / 'config.json').read_text(encoding='utf-8'))
    files = {name: place / 'report' / name for name in PICTURES}
    pictures = {name: file.read_bytes() for name, file in files.items() if file.exists()}
    commands = {run.get('command'): 'Trained by'}
    commands.setdefault(report['command'], 'Scored by')
    versions = ', '.join(f'{name} {version}' for name, version in (run.get('versions') or {}).items())
    rows = [('devices', run.get('devices')), ('git revision', run.get('git_revision')), ('versions', versions)]
    return {
        'name': str(workdir),
        'anchor': anchor,
        'overview': _overview(report, run['config'], read_metrics(workdir)),
        'commands': [(label, command) for command, label in commands.items() if command],
        'facts': [*headline(report), *((name, str(value)) for name, value in rows if value)],
        'sections': sections(report, list(pictures)),
        'pictures': pictures,
    }


def _overview(report: dict, config: dict, metrics: list[dict]) -> dict:
    trained = max((line['epoch'] for line in metrics if line['step'] <= report['checkpoint_step']), default=0)
    return {
        'dataset': report['dataset'],
        'split': report['split'],
        'model': config['model']['name'],
        'parameters': report['parameters'],
        'images': report['num_examples'],
        'accuracy': percent(report['accuracy']),
        'top-5': top5(report),
        'worst class': worst_class(report),
        'ECE': percent(report['ece']),
        'corrupted': mean_robust(report),
        'epochs': f'{trained:g} of {config["epochs"]}' if metrics else None,
    }
