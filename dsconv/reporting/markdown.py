"""Writes GitHub-flavoured Markdown with escaped names."""

import html
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from dsconv.reporting.sections import Section
from dsconv.reporting.tables import markdown_table


def plain(text) -> str:
    """Escapes all markup and joins lines into one; vertical bars are left to `markdown_table`."""
    escaped = re.sub(r'[\\`*_\[\]]', r'\\\g<0>', ' '.join(str(text).split()))
    return html.escape(escaped, quote=False).replace('~', '&#126;')


def code_block(text: str) -> str:
    """Returns preformatted text as a fenced code block."""
    return f'```\n{text}\n```'


def plain_cells(row: Sequence) -> list:
    """Escapes the strings in a row of a table."""
    return [plain(cell) if isinstance(cell, str) else cell for cell in row]


def plain_table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """Returns the `markdown_table` of rows, with their strings escaped."""
    return markdown_table(header, map(plain_cells, rows))


def paragraphs(section: Section, heading: str = '##', folder: str = '') -> list[str]:
    """Returns a section as paragraphs of Markdown; `folder` holds the pictures, relative to the Markdown file."""
    parts = [f'{heading} {section.title}']
    if section.picture:
        parts.append(f'![{section.caption}]({PurePosixPath(folder, section.picture)})')
    if section.code:
        parts.append(code_block(section.code))
    if section.text:
        parts.append(plain(section.text))
    if section.table:
        parts.append(plain_table(*section.table))
    return parts
