import numpy as np
from sklearn.datasets import load_digits

from dsconv.data import open_source
from tests.data.conftest import examples


def test_digits_are_scikit_learns(settings):
    source = open_source(settings())
    assert (source.image_size, source.channels, source.flippable) == (8, 1, False)
    assert source.class_names == tuple('0123456789')
    assert source.split_sizes == {'train': 1257, 'validation': 180, 'test': 360}
    splits = [source.load(name) for name in source.split_sizes]
    for split in splits:
        images = split.images(np.arange(3))
        assert (images.shape, images.dtype, split.labels.dtype) == ((3, 8, 8, 1), np.uint8, np.int32)
        assert np.ptp(np.bincount(split.labels) / split.num_examples) < 0.02
    original = load_digits()
    scaled = np.round(original.images * 255 / 16).astype(np.uint8)
    expected = zip(original.target.tolist(), map(np.ndarray.tobytes, scaled))
    assert sorted(sum(map(examples, splits), [])) == sorted(expected)
