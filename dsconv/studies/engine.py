"""From a command's flags to a finished study: the cells, their runs, three files and what is printed."""

import json
from collections.abc import Callable
from pathlib import Path

from dsconv.config import name_of
from dsconv.errors import InputError, RunError
from dsconv.files import make_directory, replace_file
from dsconv.reporting import markdown_table
from dsconv.reporting.markdown import plain
from dsconv.studies.cells import Cell, cells_of, is_finished, train_cells
from dsconv.studies.study import Study


def carry_out(study: Study, arguments, kind, measure: Callable[[list[Cell]], dict] = lambda cells: {}) -> None:
    """Trains what is not finished and prints the table; with `--dry-run` prints the commands of the cells alone.

    Args:
      study: what is varied.
      arguments: of a command with `cli.add_study_flags`.
      kind: a module with `summarise(study, cells)`, a JSON object, `as_text(result, table, text)`, and `draw(result)`,
        the content of a PNG file.
      measure: cells → what more belongs into the result, measured before anything is trained.

    Raises:
      InputError: the flags, the study or the config are wrong.
      RunError: at the end, where a cell has failed.
    """
    output = arguments.output or Path('runs', f'{study.name}-{name_of(arguments.config)}')
    cells = cells_of(study, arguments.config, arguments.overrides, arguments.seeds, output)
    index, count = arguments.shard
    share = cells[index - 1 :: count]
    if arguments.dry_run:
        print(*(cell.command for cell in share), sep='\n')
        return
    check_output(cells, output)
    make_directory(output)
    from dsconv.training.run import command_line

    measured = measure(cells) | {'command': command_line()}

    def summary():
        result = kind.summarise(study, cells) | measured
        write(result, output, kind)
        return result

    for _ in train_cells(share):
        summary()
    result = summary()
    print(kind.as_text(result), f'\n\n{output / "study.md"}', sep='')
    of_share = {(cell.variant, cell.seed) for cell in share}
    failed = [one for one in result['cells'] if one['state'] == 'failed' and (one['variant'], one['seed']) in of_share]
    if failed:
        raise RunError(f'{len(failed)} of {len(share)} runs failed; {output / "study.md"} says why')


def check_output(cells: list[Cell], output: Path) -> None:
    """Raises InputError where a cell's workdir holds another run: the study in `output` is then another."""
    for cell in cells:
        try:
            is_finished(cell)
        except InputError as error:
            raise InputError(f'--output={output} holds another study, take another directory: {error}') from error


def write(result: dict, output: Path, kind) -> None:
    """Writes `study.png`, `study.md` and `study.json`, each in one step."""
    replace_file(output / 'study.png', kind.draw(result))
    made_by = f'Made by\n\n```\n{result["command"]}\n```\n\nThe command of each run stands in `study.json`.'
    page = f'# {kind.as_text(result, markdown_table, plain)}\n\n![{plain(result["title"])}](study.png)\n\n{made_by}\n'
    replace_file(output / 'study.md', page.encode())
    replace_file(output / 'study.json', f'{json.dumps(result, indent=2, ensure_ascii=False)}\n'.encode())
