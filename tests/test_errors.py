import pytest

from dsconv.errors import did_you_mean, nearest, shown


@pytest.mark.parametrize(
    ('name', 'names', 'expected'),
    [
        ('smal', ('small', 'large'), 'small'),
        ('RELU', ('gelu', 'relu'), 'relu'),
        ('random', (None, 'Random'), 'Random'),
        (4, (None, 1, 3), None),
        ('none', (None, 'zero'), None),
        ('', ('small',), None),
        ('x', (), None),
    ],
)
def test_nearest(name, names, expected):
    assert nearest(name, names) == expected


def test_nearest_finds_any_name_without_a_cutoff():
    assert nearest('lr', ['b1', 'eps'], cutoff=0) is not None
    assert nearest('lr', ['b1', 'eps'], cutoff=0.9) is None


def test_did_you_mean():
    assert did_you_mean('smal', ('small', 'large')) == '; did you mean small?'
    assert did_you_mean('xyz', ('small', 'large')) == ''


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (None, 'none'),
        (True, 'true'),
        (3, '3'),
        (0.5, '0.5'),
        ((2, 4), '2,4'),
        (['cat', 'dog'], 'cat,dog'),
        ('gelu', 'gelu'),
        ('', "''"),
        ((), '()'),
        ('a\nb', r"'a\nb'"),
        ('\udcff', r"'\udcff'"),
    ],
)
def test_shown(value, expected):
    assert shown(value) == expected


def test_shown_is_short():
    assert len(shown('x' * 1000)) == len(shown(tuple(range(1000)))) == 100
