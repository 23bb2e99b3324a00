import pytest

from dsconv.data.source import are_characters, fits_in_memory


@pytest.mark.parametrize(
    'names, expected',
    [
        (('letter_c', 'class nine'), True),
        (('7', 'seven'), True),
        (('A', 'cat'), False),
        (('10', '11'), False),
    ],
)
def test_are_characters(names, expected):
    assert are_characters(names) is expected


def test_fits_in_memory(settings):
    assert fits_in_memory(60_000, 32, 3, settings(memory_gigabytes=0.18432))
    assert not fits_in_memory(60_000, 32, 3, settings(memory_gigabytes=0.1843))
