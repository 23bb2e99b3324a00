"""Formats tables as plain text for a terminal and as Markdown, with `tabulate`."""

from collections.abc import Sequence
from numbers import Integral, Real


def text_table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """Returns the rows in aligned columns below the header and a rule; columns of numbers are right-aligned."""
    return _tabulate(header, rows, 'simple', format_cell)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """Returns the rows as a table in GitHub's Markdown; vertical bars in cells are escaped."""
    return _tabulate(header, rows, 'pipe', lambda cell: format_cell(cell).replace('|', '\\|'))


def format_cell(cell) -> str:
    """Formats a cell: an integer as 1,234, a float with four significant digits or as an integer, None as '-'."""
    if cell is None:
        return '-'
    if not is_number(cell):
        return str(cell)
    return f'{cell:,}' if isinstance(cell, Integral) else f'{cell:,.0f}' if abs(cell) >= 1000 else f'{cell:.4g}'


def is_number(cell) -> bool:
    return isinstance(cell, Real) and not isinstance(cell, bool)


def _tabulate(header, rows, style, text):
    from tabulate import tabulate

    rows = [list(row) for row in rows]
    # Alignment follows the types of the cells, because tabulate would take a class named '1000' for a number.
    columns = [[cell for cell in column[1:] if cell is not None] for column in zip(header, *rows, strict=True)]
    sides = ['right' if column and all(map(is_number, column)) else 'left' for column in columns]
    cells = [[text(cell) for cell in row] for row in rows]
    return tabulate(cells, [text(name) for name in header], style, disable_numparse=True, colalign=sides)
