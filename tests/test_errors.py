import pytest

from dsconv.errors import did_you_mean, nearest, shown


def test_the_nearest_name_is_meant_whatever_its_case_and_none_where_none_is_near():
    for name, names, expected in (
        ('RELU', ('gelu', 'relu'), 'relu'),
        ('none', (None, 'zero'), None),
    ):
        assert nearest(name, names) == expected
        assert did_you_mean(name, names) == (f'; did you mean {expected}?' if expected else '')


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
