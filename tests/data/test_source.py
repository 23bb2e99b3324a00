from dsconv.data.source import are_characters, fits_in_memory


def test_are_characters():
    assert are_characters(('letter_c', 'class nine')) and are_characters(('7', 'seven'))
    assert not are_characters(('A', 'cat')) and not are_characters(('10', '11'))


def test_fits_in_memory(settings):
    assert fits_in_memory(60_000, 32, 3, settings(memory_gigabytes=0.18432))
    assert not fits_in_memory(60_000, 32, 3, settings(memory_gigabytes=0.1843))
