import numpy as np
import pytest

from dsconv.reporting import markdown_table, text_table
from dsconv.reporting.tables import format_cell

HEADER = ['layer', 'shape', 'parameters', 'share']
ROWS = [['patch|embedding', (2, 2, 3, 256), 3328, 0.00561], ['1000', '-', np.int64(1234567), None]]


def test_words_are_aligned_left_and_numbers_right():
    header, rule, first, second = text_table(HEADER, ROWS).splitlines()
    assert set(rule) == {'-', ' '}
    for name, left in (('layer', True), ('shape', True), ('parameters', False)):
        column = [header.index(name), header.index(name) + len(name)]
        edge = column[0] if left else column[1] - 1
        assert all(line[edge] != ' ' for line in (header, first, second))
    assert second.split() == ['1000', '-', '1,234,567', '-']


def test_markdown_table():
    lines = markdown_table(HEADER, ROWS).splitlines()
    assert [cell.strip('-') for cell in lines[1].strip('|').split('|')] == [':', ':', ':', ':']
    assert [cell.endswith(':') for cell in lines[1].strip('|').split('|')] == [False, False, True, True]
    assert [cell.strip() for cell in lines[3].split('|')] == ['', '1000', '-', '1,234,567', '-', '']
    assert 'patch\\|embedding' in lines[2]


@pytest.mark.parametrize(
    ('value', 'shown'),
    [(-1000, '-1,000'), (1 / 3, '0.3333'), (-12345.67, '-12,346'), (np.float32(0.25), '0.25'), (True, 'True')],
)
def test_cells(value, shown):
    assert format_cell(value) == shown
