import pytest

from dsconv.data.source import are_characters, fits_in_memory


@pytest.mark.parametrize(
    'names, expected',
    [
        (('A', 'b'), True),
        (('letter_c', 'letter_d'), True),
        (('7', 'seven'), True),
        (('Zero', 'class nine'), True),
        (('é', '+'), True),
        (('cat', 'dog'), False),
        (('A', 'cat'), False),
        (('10', '11'), False),
        (('A_upper',), False),
    ],
)
def test_are_characters(names, expected):
    assert are_characters(names) is expected


def test_fits_in_memory(settings):
    assert fits_in_memory(60_000, 32, 3, settings(memory_gigabytes=0.18432))
    assert not fits_in_memory(60_000, 32, 3, settings(memory_gigabytes=0.1843))
    assert not fits_in_memory(1, 1, 1, settings(memory_gigabytes=0.0))
