"""Runs a study from the flags of a command and writes its three files."""

import contextlib
import json
from pathlib import Path

from dsconv.config import name_of
from dsconv.errors import InputError, RunError
from dsconv.files import make_directory, read_if_there, replace_file, write_json
from dsconv.process import command_line
from dsconv.reporting import markdown_table
from dsconv.reporting.markdown import code_block, plain
from dsconv.studies.cells import is_finished, make_cells, train_cells
from dsconv.studies.study import Study


def run_study(study: Study, arguments, kind) -> None:
    """Trains the unfinished cells and prints the table; with `--dry-run`, only prints the commands of the cells.

    Args:
      arguments: parsed flags of a command with `cli.add_study_flags`.
      kind: the module `ablation` or `comparison`, with `summarise(study, cells)` → JSON object, `as_text(result, table,
        text)`, `draw(result)` → content of a PNG file, and optionally `measure(cells)` → more keys of the result,
        called before training.

    Raises InputError for invalid flags, study or config; RunError, at the end, if a cell has failed.
    """
    output = arguments.output or Path('runs', f'{study.name}-{name_of(arguments.config)}')
    folds = arguments.folds
    seeds = arguments.seeds or tuple(range(folds or 3))
    cells = make_cells(study, arguments.config, arguments.overrides, seeds, output, folds)
    index, count = arguments.shard
    share = slice(index - 1, None, count)
    if arguments.dry_run:
        print(*(cell.command for cell in cells[share]), sep='\n')
        return
    for cell in cells:
        try:
            is_finished(cell)
        except InputError as error:
            raise InputError(f'--output={output} contains another study: use another directory ({error})') from error
    with contextlib.suppress(ValueError, AttributeError, RecursionError):  # a damaged file is written again
        other = json.loads(read_if_there(output / 'study.json') or '{}').get('study', study.name)
        if other != study.name:
            raise InputError(f'--output={output} contains the study {other}: use another directory')
    make_directory(output)
    measured = kind.measure(cells) if hasattr(kind, 'measure') else {}
    measured |= {'command': command_line()}

    def write_result():
        result = kind.summarise(study, cells) | measured
        replace_file(output / 'study.png', kind.draw(result))
        text = f'# {kind.as_text(result, markdown_table, plain)}\n\n![{plain(result["title"])}](study.png)\n\n'
        text += f'Made by\n\n{code_block(result["command"])}\n\nThe command of each run is in `study.json`.\n'
        replace_file(output / 'study.md', text.encode(errors='backslashreplace'))
        write_json(output / 'study.json', result)
        return result

    for _ in train_cells(cells[share]):
        write_result()
    result = write_result()
    print(kind.as_text(result), f'\n\n{output / "study.md"}', sep='')
    states = [outcome['state'] for outcome in result['cells'][share]]
    if failed := states.count('failed'):
        raise RunError(f'{failed} of {len(states)} runs failed; {output / "study.md"} says why')
