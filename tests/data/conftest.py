import numpy as np
import pytest

from configs import common


def examples(split):
    """Returns (label, bytes of the image) of each example."""
    images = split.images(np.arange(split.num_examples))
    return [(label, image.tobytes()) for label, image in zip(split.labels.tolist(), images, strict=True)]


@pytest.fixture
def settings():
    """A config's `dataset` section, by default of the digits, with what a test changes."""

    def make(**changed):
        dataset = common.get_config().dataset
        dataset.update({'name': 'digits'} | changed)
        return dataset

    return make
