import pytest

from configs import common


@pytest.fixture
def settings():
    """A config's `dataset` section, by default of the digits, with what a test changes."""

    def make(**changed):
        dataset = common.get_config().dataset
        dataset.update({'name': 'digits'} | changed)
        return dataset

    return make
