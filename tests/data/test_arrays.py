import numpy as np
import pytest

from dsconv.data.arrays import array_source
from dsconv.data.picture import fit_array
from tests.data.conftest import examples

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 6, 6, 3), np.uint8)
LABELS = np.arange(10) % 2


@pytest.mark.parametrize('gigabytes', [1.0, 0.0])
def test_parts_of_a_split_hold_its_images_and_labels_in_memory_or_not(settings, gigabytes):
    dataset = settings(image_size=4, channels=1, memory_gigabytes=gigabytes, validation_fraction=0.4)
    source = array_source({'train': (IMAGES, LABELS)}, ('a', 'b'), True, dataset)
    parts = [source.load(name) for name in ('train', 'validation')]
    assert all(part.in_memory == (gigabytes > 0) for part in parts)
    expected = [(label, fit_array(image, 4, 1).tobytes()) for label, image in zip(LABELS.tolist(), IMAGES, strict=True)]
    assert sorted(examples(parts[0]) + examples(parts[1])) == sorted(expected)
    assert source.own('train') is source.own('train')
