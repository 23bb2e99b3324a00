"""Opens a dataset by name: the entry point of this package."""

from dsconv.config_checks import unread
from dsconv.data.cifar_archive import describe_cifar, open_cifar_archive
from dsconv.data.digits import open_digits
from dsconv.data.image_folder import open_pictures
from dsconv.data.processes import ALONE, Processes
from dsconv.data.source import FOLDER_PREFIX, OR_ARCHIVE, TABLE_PREFIX, Source
from dsconv.errors import InputError, require_tensorflow, shown


def open_source(
    dataset, prepared: bool = True, processes: Processes = ALONE, listed=None, whole: bool = False
) -> Source:
    """Opens the dataset that a config's `dataset` section describes.

    Args:
      dataset: a config's `dataset` section, or an object with the same attributes; see configs/common.py.
      prepared: False if only the form of the images and the number of classes are needed: data of TensorFlow Datasets
        may then be missing, and `split_sizes` may be empty.
      processes: of the run; they share the first decoding of the pictures of a folder or a table.
      listed: a file with the bytes of `Source.table`, which then defines the pictures and their splits, or None.
      whole: do not cut a test split from data that has only train. Pictures are then one split, train, whatever their
        folders or their table say, and may have one class.

    Returns: a `Source`. Images are not decoded yet, with two exceptions: the pictures of a folder or a table are all
      decoded once, so that broken pictures are known before training, and an archive is read completely.
    Raises: InputError when the dataset does not exist, is not prepared, is damaged or has no labelled images.
    """
    if dataset.archive and dataset.name != 'cifar10':
        raise InputError(f'dataset.archive is only for dataset.name=cifar10, not {dataset.name!r}: leave it unset')
    if (name := dataset.name).startswith(('/', '.', '~')):
        raise InputError(f'dataset.name={name} is a path: for the pictures in it, use {FOLDER_PREFIX}{name}')
    for prefix, what in ((FOLDER_PREFIX, 'folder'), (TABLE_PREFIX, 'CSV file')):
        if dataset.name in (prefix, prefix[:-1]):
            other = '--config=configs/pictures.py:PATH'
            raise InputError(f'dataset.name={dataset.name} needs the path of a {what}: {prefix}PATH, or {other}')
    for key in unread(dataset):
        if (value := getattr(dataset, key)) is not None:
            raise InputError(f'dataset.{key}={shown(value)} has no effect on {dataset.name}: leave it unset')
    if dataset.name == 'digits':
        return open_digits(dataset)
    if dataset.name.startswith((FOLDER_PREFIX, TABLE_PREFIX)):
        return open_pictures(dataset, processes, listed, whole)
    if dataset.name == 'cifar10' and not prepared:
        return describe_cifar(dataset)
    if dataset.archive:
        return open_cifar_archive(dataset)
    require_tensorflow(f'dataset.name={dataset.name}', OR_ARCHIVE if dataset.name == 'cifar10' else '')
    from dsconv.data.tfds_source import open_tfds

    return open_tfds(dataset, prepared, whole)
