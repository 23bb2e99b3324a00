"""TensorFlow Datasets by name, from data that has been prepared before: nothing here ever starts a download."""

import contextlib
import difflib
import functools
import itertools
import logging
import os

import numpy as np

from dsconv.data.picture import decode_picture
from dsconv.data.read_ahead import import_tensorflow
from dsconv.data.source import FOLDER_PREFIX, Source, are_characters, choose_class_names, fits_in_memory
from dsconv.data.splits import TEST_FRACTION, Division, Split
from dsconv.data.stream import READ_BATCH, StreamedSplit, read_labels
from dsconv.data.threads import map_threads
from dsconv.errors import InputError

log = logging.getLogger('dsconv')

# Of characters, yet with class names that do not say so.
CHARACTER_DATASETS = frozenset(
    (
        'binarized_mnist',
        'binary_alpha_digits',
        'cmaterdb',
        'emnist',
        'kmnist',
        'mnist',
        'mnist_corrupted',
        'omniglot',
        'svhn_cropped',
        'visual_domain_decathlon/omniglot',
        'visual_domain_decathlon/svhn',
    )
)


def open_tfds(dataset, prepared: bool = True) -> Source:
    """Opens a classification dataset of TensorFlow Datasets from its metadata.

    Splits other than train, validation and test are ignored. Where train is alone, a fixed fifth of each of its classes
    is the test split, unless `dataset.validation_fraction` holds a part out. Data that, decoded, exceeds
    `dataset.memory_gigabytes` is streamed (see `stream`).

    Raises: InputError when there is no such dataset, it is not prepared in the directory, it has no features 'image'
      and 'label', or its images differ in size and `dataset.image_size` is unset.
    """
    import_tensorflow()
    import tensorflow_datasets as tfds

    directory = os.path.expanduser(dataset.data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets')
    builder = _builder(tfds, dataset.name, directory)
    image, label = _features(tfds, builder)
    if prepared:
        _require_prepared(builder, dataset.name, directory)
    image_size, channels = dataset.image_size or _common_size(image, dataset.name), dataset.channels
    channels = channels or (1 if image.shape[-1] == 1 else 3)
    infos = {name: builder.info.splits[name] for name in ('train', 'validation', 'test') if name in builder.info.splits}
    sizes = {name: info.num_examples for name, info in infos.items()}
    if prepared and not sizes:
        raise InputError(
            f'{dataset.name} has none of the splits train, validation and test, but {", ".join(builder.info.splits)}'
        )
    in_memory = fits_in_memory(sum(sizes.values()), image_size, channels, dataset)

    def own(name: str):
        where = f'split {name!r} in {builder.data_dir}'
        records = functools.partial(_records, tfds, builder, name)
        check = functools.partial(_checked_labels, num_classes=label.num_classes, where=where)
        split = StreamedSplit(
            records,
            decode=lambda encoded, labels: (_decode(encoded, image_size, channels, where), check(labels)),
            stored_labels=functools.cache(lambda: check(read_labels(records, where))),
            num_stored=sizes[name],
            num_bytes=infos[name].num_bytes,
            where=where,
        )
        return _loaded(split, image_size, channels) if in_memory else split

    names = choose_class_names(tuple(label.names), dataset)
    family = dataset.name.split(':')[0]
    numbered = names == tuple(map(str, range(len(names))))  # how TFDS names classes that have no names
    characters = {family, family.split('/')[0]} & CHARACTER_DATASETS or (not numbered and are_characters(names))
    is_divided = set(sizes) != {'train'} or bool(dataset.validation_fraction)
    division = Division(
        sizes, dataset.validation_fraction, dataset.train_fraction, 0.0 if is_divided else TEST_FRACTION
    )
    if not is_divided:
        log.info('%s: has train alone; a fixed fifth of each class is the test split', dataset.name)
    return Source(image_size, channels, names, not characters, division, own)


def _builder(tfds, name: str, directory: str):
    family, _, version = name.partition(':')
    family = family.split('/')[0]
    known = tfds.list_builders(with_community_datasets=False)
    isdir = import_tensorflow().io.gfile.isdir  # of gs:// too
    stored = family and isdir(os.path.join(directory, family))  # prepared by a builder of the person's own
    if not (family in known or stored) or version[:1] not in '0123456789*':  # 'community:name' would use the network
        if os.path.isdir(name):
            raise InputError(f'there is no dataset {name!r}; for the pictures in that folder say {FOLDER_PREFIX}{name}')
        raise InputError(
            f'there is no dataset {name!r}: nearest {_nearest(family, ["digits", *known])}; pictures of '
            f'your own: {FOLDER_PREFIX}<path>'
        )
    try:
        return tfds.builder(name, data_dir=directory, try_gcs=False)
    except Exception as error:  # a builder's module may raise anything, e.g. for a package it wants
        if '/' in name and family in known:
            configs = [f'{family}/{config.name}' for config in tfds.builder_cls(family).BUILDER_CONFIGS]
            if name.split(':')[0] not in configs:
                raise InputError(f'there is no dataset {name!r}: nearest {_nearest(name, configs)}') from error
        reason = ' '.join(str(error).split())
        raise InputError(f'dataset {name!r} in {directory} cannot be opened: {reason[:300]}') from error


def _nearest(name: str, known: list[str]) -> str:
    return ', '.join(difflib.get_close_matches(name, known, n=3, cutoff=0.5) or ['digits', 'cifar10'])


def _require_prepared(builder, name: str, directory: str) -> None:
    if builder.info.splits:
        return
    archive = ', or give the archive: --config.dataset.archive=cifar-10-binary.tar.gz' if name == 'cifar10' else ''
    raise InputError(
        f'{name} {builder.version} is not prepared in {directory} (looked for {builder.data_dir}): prepare it with '
        f'`python -c "import tensorflow_datasets as tfds; tfds.builder({name!r}, data_dir={directory!r})'
        f'.download_and_prepare()"`{archive}, or train on what needs no download: --config=configs/digits.py'
    )


def _features(tfds, builder):
    features = dict(builder.info.features.items())
    image, label = (features.get(key) for key in ('image', 'label'))
    if not isinstance(image, tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
        raise InputError(
            f'{builder.info.full_name} is not a set of labelled pictures: it needs the features image and '
            f'label, and has {", ".join(features)}'
        )
    if np.dtype(image.np_dtype) not in (np.uint8, np.uint16):
        raise InputError(f'{builder.info.full_name} has images of {np.dtype(image.np_dtype)}, not of integers')
    return image, label


def _common_size(image, name: str) -> int:
    height, width = image.shape[:2]
    if height is None or height != width:
        size = 'differ in size' if None in (height, width) else f'are {height}x{width}, not square'
        raise InputError(
            f'the images of {name} {size}: give the size to bring them to, e.g. '
            f'--config.dataset.image_size={64 if height is None else height}'
        )
    return height


def _records(tfds, builder, split: str, seed: int | None, positioned: bool):
    """Opens the records of a split; see `StreamedSplit.records`."""
    tf = import_tensorflow()
    config = tfds.ReadConfig(
        try_autocache=False,
        enable_ordering_guard=False,
        add_tfds_id=positioned and seed is not None,
        shuffle_seed=seed,
        shuffle_reshuffle_each_iteration=False,
        interleave_cycle_length=1 if seed is None else 16,
    )
    decoders = tfds.decode.PartialDecoding(
        {'image': True, 'label': True}, decoders={'image': tfds.decode.SkipDecoding()}
    )
    with _without_absl_warnings():
        examples = builder.as_dataset(
            split=split, shuffle_files=seed is not None, read_config=config, decoders=decoders
        )
    if not positioned:
        return examples
    if seed is None:
        return examples.enumerate().map(lambda position, example: example | {'position': position})

    info = builder.info.splits[split]
    first = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(info.filenames)),
            tf.constant(list(itertools.accumulate(info.shard_lengths[:-1], initial=0)), tf.int64),
        ),
        default_value=-1,
    )

    def with_position(example):
        parts = tf.strings.split(example.pop('tfds_id'), '__')  # <file>__<index in the file>
        file = tf.strings.reduce_join(parts[:-1], separator='__')
        return example | {'position': first.lookup(file) + tf.strings.to_number(parts[-1], tf.int64)}

    return examples.map(with_position, num_parallel_calls=tf.data.AUTOTUNE)


@contextlib.contextmanager
def _without_absl_warnings():
    """Silences what TFDS warns of its own use of `FeatureConnector.dtype` whenever it decodes partially."""
    logger = logging.getLogger('absl')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _decode(encoded: np.ndarray, image_size: int, channels: int, where: str) -> np.ndarray:
    images = np.empty((len(encoded), image_size, image_size, channels), np.uint8)
    try:
        for row, image in enumerate(map_threads(lambda file: decode_picture(file, image_size, channels), encoded)):
            images[row] = image
    except InputError as error:
        raise InputError(f'{where}: a picture {error}: remove the directory and prepare it again') from error
    return images


def _checked_labels(labels: np.ndarray, num_classes: int, where: str) -> np.ndarray:
    if len(labels) and not (labels.min() >= 0 and labels.max() < num_classes):
        raise InputError(
            f'{where}: has examples without a label (labels {labels.min()}..{labels.max()}, '
            f'{num_classes} classes): choose another split'
        )
    return labels.astype(np.int32)


def _loaded(split: StreamedSplit, image_size: int, channels: int) -> Split:
    images = np.empty((split.num_stored, image_size, image_size, channels), np.uint8)
    labels = np.empty(split.num_stored, np.int32)
    row = 0
    for batch_images, batch_labels in split.in_order(READ_BATCH, slice(None)):
        rows = slice(row, row + len(batch_labels))
        images[rows], labels[rows] = batch_images, batch_labels
        row = rows.stop
    return Split(labels, images.__getitem__, in_memory=True)
