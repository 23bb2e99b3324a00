import numpy as np

from dsconv.data.arrays import array_source
from dsconv.data.picture import fit_array

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 6, 6, 3), np.uint8)
LABELS = np.arange(10) % 2


def test_the_same_images_in_memory_and_on_the_fly(settings):
    indices = np.array([7, 0, 7])
    expected = np.stack([fit_array(IMAGES[i], 4, 1) for i in indices])
    for gigabytes in (1.0, 0.0):
        source = array_source(
            {'train': (IMAGES, LABELS)},
            ('a', 'b'),
            True,
            settings(image_size=4, channels=1, memory_gigabytes=gigabytes),
        )
        split = source.load('train')
        assert split.in_memory == (gigabytes > 0)
        assert np.array_equal(split.images(indices), expected)


def test_a_split_is_decoded_once_for_both_its_parts(settings):
    source = array_source({'train': (IMAGES, LABELS)}, ('a', 'b'), True, settings(validation_fraction=0.4))
    parts = [source.load(name) for name in ('train', 'validation')]
    seen = np.concatenate([part.images(np.arange(part.num_examples)) for part in parts])
    assert sorted(image.tobytes() for image in seen) == sorted(image.tobytes() for image in IMAGES)
    assert source.own('train') is source.own('train')
