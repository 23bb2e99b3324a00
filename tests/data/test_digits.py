import numpy as np
from sklearn.datasets import load_digits

from dsconv.data import open_source


def test_digits_are_scikit_learns(settings):
    source = open_source(settings())
    assert (source.image_size, source.channels, source.flippable) == (8, 1, False)
    assert source.class_names == tuple('0123456789')
    assert source.split_sizes == {'train': 1257, 'validation': 180, 'test': 360}
    seen = []
    for name, size in source.split_sizes.items():
        split = source.load(name)
        images = split.images(np.arange(size))
        assert images.shape == (size, 8, 8, 1) and images.dtype == np.uint8 and split.labels.dtype == np.int32
        assert np.ptp(np.bincount(split.labels) / size) < 0.02
        seen += [(label, image.tobytes()) for label, image in zip(split.labels.tolist(), images)]
    small = open_source(settings(train_fraction=0.1, image_size=16, channels=3))
    assert small.split_sizes['train'] == 126 and small.load('train').images(np.arange(3)).shape == (3, 16, 16, 3)
    original = load_digits()
    scaled = np.round(original.images * 255 / 16).astype(np.uint8)
    assert sorted(seen) == sorted((label, image.tobytes()) for label, image in zip(original.target.tolist(), scaled))
