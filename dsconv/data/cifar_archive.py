"""Reads CIFAR-10 from a local copy of `cifar-10-binary.tar.gz`, the archive that its authors publish."""

import hashlib
import io
import pathlib
import tarfile

import numpy as np

from dsconv.data.arrays import array_source
from dsconv.data.source import Source, choose_class_names
from dsconv.data.splits import Division
from dsconv.errors import InputError
from dsconv.files import to_path

MD5 = 'c32a1d4ab5d03f1284b67883e8d87530'
PICKLED_MD5 = 'c58f30108f718f92721af3b95e74349a'
FOLDER = 'cifar-10-batches-bin'
CLASS_NAMES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
RECORD_BYTES = 1 + 3 * 32 * 32  # the label, then the red, the green and the blue plane in row-major order


def describe_cifar(dataset) -> Source:
    """Returns CIFAR-10 without splits: only the image size, the channels and the class names."""
    names = choose_class_names(CLASS_NAMES, dataset)
    size, channels, division = dataset.image_size or 32, dataset.channels or 3, Division.of({}, dataset)
    scale = None if dataset.archive else dataset.crop_scale
    return Source(size, channels, names, True, division, {}.get, crop_scale=scale)


def open_cifar_archive(dataset) -> Source:
    """Reads the archive at `dataset.archive` into memory; nothing is written to disk.

    Raises: InputError when the file is missing, is a different archive or has a wrong MD5 checksum.
    """
    with tarfile.open(fileobj=io.BytesIO(_verified(to_path(dataset.archive))), mode='r:gz') as archive:
        files = {'train': [f'data_batch_{i}' for i in range(1, 6)], 'test': ['test_batch']}
        splits = {name: _read(archive, name, names) for name, names in files.items()}
    return array_source(splits, CLASS_NAMES, dataset)


def _verified(path: pathlib.Path) -> bytes:
    """Returns the content of the archive. Raises InputError if its checksum is not the published one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: dataset.archive cannot be read ({error.strerror or error})') from error
    digest = hashlib.md5(content).hexdigest()
    if digest == PICKLED_MD5 or (digest != MD5 and 'python' in path.name):
        raise InputError(
            f'{path}: this is the pickled archive, which could run code when opened; give the binary '
            f'version, cifar-10-binary.tar.gz, as dataset.archive'
        )
    if digest != MD5:
        raise InputError(
            f'{path}: MD5 is {digest}, that of cifar-10-binary.tar.gz is {MD5}: the file is another one '
            f'or damaged; get it again'
        )
    return content


def _read(archive: tarfile.TarFile, split: str, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images and labels of some files of the archive.

    The order is that of TensorFlow Datasets, which sorts by the MD5 of the split's name and the index. Both sources
    therefore hold out the same images and yield the same batches.
    """
    records = b''.join(archive.extractfile(f'{FOLDER}/{name}.bin').read() for name in names)
    records = np.frombuffer(records, np.uint8).reshape(-1, RECORD_BYTES)
    digests = [hashlib.md5(f'{split}{index}'.encode()).digest() for index in range(len(records))]
    records = records[sorted(range(len(records)), key=digests.__getitem__)]
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0]
