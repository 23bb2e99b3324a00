import hashlib
import io
import tarfile

import numpy as np
import pytest

from dsconv.data import cifar_archive, open_source
from dsconv.data.picture import fit_array
from dsconv.errors import InputError


def test_reads_the_images(settings, tmp_path, monkeypatch):
    hashing = pytest.importorskip('tensorflow_datasets.core.hashing')
    generator, images, path = np.random.default_rng(0), {}, tmp_path / 'cifar-10-binary.tar.gz'
    with tarfile.open(path, 'w:gz') as tar:
        for name in (*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch'):
            images[name] = generator.integers(0, 256, (20, 32, 32, 3), np.uint8)
            rows = enumerate(images[name].transpose(0, 3, 1, 2))
            data = b''.join(bytes([i % 10]) + planes.tobytes() for i, planes in rows)
            info = tarfile.TarInfo(f'cifar-10-batches-bin/{name}.bin')
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    monkeypatch.setattr(cifar_archive, 'MD5', hashlib.md5(path.read_bytes()).hexdigest())
    source = open_source(settings(name='cifar10', archive=str(path), validation_fraction=0.1))
    assert source.split_sizes == {'train': 90, 'validation': 10, 'test': 20}
    names = 'airplane automobile bird cat deer dog frog horse ship truck'  # batches.meta.txt of the archive
    assert source.class_names == tuple(names.split()) and source.flippable
    test, order = source.load('test'), sorted(range(20), key=hashing.Hasher('test').hash_key)
    assert np.array_equal(test.images(np.arange(20)), images['test_batch'][order])
    assert np.array_equal(test.labels, np.array(order) % 10)
    whole, train = open_source(settings(name='cifar10', archive=str(path))).load('train'), list(images.values())[:5]
    order_of_all = sorted(range(100), key=hashing.Hasher('train').hash_key)
    assert np.array_equal(whole.images(np.arange(100)), np.concatenate(train)[order_of_all])
    expected = [fit_array(image, 16, 1) for image in images['test_batch'][order]]
    for gigabytes in (1.0, 0.0):
        other = dict(image_size=16, channels=1, memory_gigabytes=gigabytes)
        test = open_source(settings(name='cifar10', archive=str(path), **other)).load('test')
        assert test.in_memory == (gigabytes > 0) and np.array_equal(test.images(np.arange(20)), expected)


@pytest.mark.parametrize(
    ('name', 'message'),
    [('cifar-10-binary.tar.gz', 'MD5 is .* damaged'), ('cifar-10-python.tar.gz', 'pickled.*cifar-10-binary.tar.gz')],
)
def test_other_files(settings, tmp_path, name, message):
    (tmp_path / name).write_bytes(b'x')
    with pytest.raises(InputError, match=message):
        open_source(settings(name='cifar10', archive=str(tmp_path / name)))
