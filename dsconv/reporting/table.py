"""Tables as plain text for a terminal and as Markdown."""

from collections.abc import Sequence
from numbers import Integral, Real


def text_table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """The rows in aligned columns under the header and a rule; columns of numbers stand to the right.

    Cells are of any type: integers get thousands separators, other real numbers four significant digits
    (none after the point from 1,000 on), None becomes a dash, the rest `str`. Raises ValueError for a row that is
    not as long as the header.
    """
    cells = [list(header), *([_format(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = _numeric_columns(header, rows)
    lines = [
        '  '.join(
            f'{cell:{">" if to_right else "<"}{width}}'
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    ]
    lines.insert(1, '  '.join('-' * width for width in widths))
    return '\n'.join(lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """The same table in GitHub's Markdown; vertical bars in cells are escaped. Raises as `text_table`."""
    rule = ['---:' if right else ':---' for right in _numeric_columns(header, rows)]
    cells = [[_format(cell).replace('|', '\\|') for cell in row] for row in [header, *rows]]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in [cells[0], rule, *cells[1:]])


def _numeric_columns(header: Sequence[str], rows: Sequence[Sequence]) -> list[bool]:
    """For every column, whether it holds numbers (and dashes) only."""
    columns = [column[1:] for column in zip(header, *rows, strict=True)]
    return [
        any(_is_number(cell) for cell in column) and all(cell is None or _is_number(cell) for cell in column)
        for column in columns
    ]


def _is_number(cell) -> bool:
    return isinstance(cell, Real) and not isinstance(cell, bool)


def _format(cell) -> str:
    if cell is None:
        return '-'
    if not _is_number(cell):
        return str(cell)
    return f'{cell:,}' if isinstance(cell, Integral) else f'{cell:,.0f}' if abs(cell) >= 1000 else f'{cell:.4g}'
