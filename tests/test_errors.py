import pytest

from dsconv.errors import did_you_mean, nearest, shown


@pytest.mark.parametrize(
    ('name', 'names', 'expected'),
    [
        ('smal', ('small', 'large'), 'small'),
        ('RELU', ('gelu', 'relu'), 'relu'),
        ('random', (None, 'Random'), 'Random'),
        ('none', (None, 'zero'), None),
        ('', ('small',), None),
    ],
)
def test_nearest(name, names, expected):
    assert nearest(name, names) == expected
    assert did_you_mean(name, names) == (f'; did you mean {expected}?' if expected else '')
    assert nearest('lr', ['b1', 'eps'], cutoff=0) is not None


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (None, 'none'),
        (True, 'true'),
        (0.5, '0.5'),
        (['cat', 'dog'], 'cat,dog'),
        ('', "''"),
        ((), '()'),
        ('a\nb', r"'a\nb'"),
        ('\udcff', r"'\udcff'"),
        ('x' * 1000, 'x' * 99 + '…'),
        (tuple(range(1000)), ','.join(map(str, range(1000)))[:99] + '…'),
    ],
)
def test_shown(value, expected):
    assert shown(value) == expected
    assert len(shown('x' * 101)) == len(shown('x' * 100)) == 100
