import numpy as np
import pytest

from dsconv.reporting import markdown_table, text_table

HEADER = ['layer', 'shape', 'parameters', 'share']
ROWS = [['patch embedding', (2, 2, 3, 256), 3328, 0.00561], ['block', '-', np.int64(1234567), None]]


def test_text_table_aligns_words_left_and_numbers_right():
    assert text_table(HEADER, ROWS) == '\n'.join(
        [
            'layer            shape           parameters    share',
            '---------------  --------------  ----------  -------',
            'patch embedding  (2, 2, 3, 256)       3,328  0.00561',
            'block            -                1,234,567        -',
        ]
    )


def test_markdown_table():
    assert markdown_table(HEADER, ROWS) == '\n'.join(
        [
            '| layer | shape | parameters | share |',
            '| :--- | :--- | ---: | ---: |',
            '| patch embedding | (2, 2, 3, 256) | 3,328 | 0.00561 |',
            '| block | - | 1,234,567 | - |',
        ]
    )


def test_markdown_escapes_the_bar():
    assert markdown_table(['name'], [['a|b']]).splitlines()[-1] == '| a\\|b |'


@pytest.mark.parametrize(
    ('value', 'shown'),
    [
        (1000, '1,000'),
        (-5, '-5'),
        (0.5, '0.5'),
        (1 / 3, '0.3333'),
        (3e-5, '3e-05'),
        (12345.67, '12,346'),
        (True, 'True'),
        (float('nan'), 'nan'),
        (None, '-'),
        ('1000', '1000'),
        (np.float32(0.25), '0.25'),
        ('é→猫', 'é→猫'),
    ],
)
def test_cells(value, shown):
    assert text_table(['x'], [[value]]).splitlines()[-1].strip() == shown


def test_a_table_without_rows_is_its_header():
    assert text_table(['name', 'n'], []).splitlines() == ['name  n', '----  -']
    assert markdown_table(['name', 'n'], []).splitlines() == ['| name | n |', '| :--- | :--- |']


@pytest.mark.parametrize('table', [text_table, markdown_table])
def test_a_row_of_another_length_is_refused(table):
    with pytest.raises(ValueError, match='zip'):
        table(['a', 'b'], [[1]])
