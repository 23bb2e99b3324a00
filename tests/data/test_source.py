from dsconv.data.source import fits_in_memory


def test_fits_in_memory(settings):
    assert fits_in_memory(60_000, 32, 3, settings(memory_gigabytes=0.18432))
    assert not fits_in_memory(60_000, 32, 3, settings(memory_gigabytes=0.1843))
