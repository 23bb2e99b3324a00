import pytest

from dsconv.errors import shown


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (['cat', 'dog'], 'cat,dog'),
        (['cat', ''], "['cat', '']"),
        ('', "''"),
        ('\udcff', r"'\udcff'"),
        ('x' * 100, 'x' * 100),
        (tuple(range(1000)), ','.join(map(str, range(1000)))[:99] + '…'),
    ],
)
def test_a_value_is_shown_as_it_is_typed_on_one_line_of_100_characters(value, expected):
    assert shown(value) == expected
