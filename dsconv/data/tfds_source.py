"""Opens TensorFlow Datasets by name, from data that is already prepared: nothing here starts a download."""

import functools
import io
import itertools
import logging
import os

import numpy as np
import tensorflow_datasets as tfds

from dsconv.config_auto import choose_sizes, is_auto
from dsconv.data.listing import check_split_names, split_names
from dsconv.data.picture import drawn_crop, fit, open_picture
from dsconv.data.read_ahead import import_tensorflow
from dsconv.data.source import (
    FOLDER_PREFIX,
    OR_ARCHIVE,
    TABLE_PREFIX,
    Source,
    are_characters,
    choose_class_names,
    fits_in_memory,
)
from dsconv.data.splits import Division, Split, tested_fraction
from dsconv.data.stream import READ_BATCH, StreamedSplit, naming_damage, read_labels
from dsconv.data.tfds_features import Features, encode_arrays, find_features, plain_labels, read_vocabulary
from dsconv.data.threads import map_images
from dsconv.errors import InputError, RunError, did_you_mean, with_causes
from dsconv.files import is_directory, is_passing, is_store_fault, to_path
from dsconv.process import without_absl_warnings

log = logging.getLogger('dsconv')
MEASURED = 100  # images whose sizes determine an automatic `dataset.image_size`

# Datasets of characters that cannot be recognized by their class names.
CHARACTER_DATASETS = frozenset((
    'binarized_mnist', 'binary_alpha_digits', 'cmaterdb', 'emnist', 'kmnist', 'mnist', 'mnist_corrupted', 'omniglot',
    'svhn_cropped', 'visual_domain_decathlon/omniglot', 'visual_domain_decathlon/svhn',
))  # fmt: skip


def open_tfds(dataset, prepared: bool = True, whole: bool = False) -> Source:
    """Opens a classification dataset of TensorFlow Datasets from its metadata.

    Splits other than those of `split_names` are ignored. If train is the only split, a fixed fifth of each class is
    the test split, unless the dataset is taken `whole`, or `dataset.validation_fraction` or `dataset.fold` holds out
    examples. Data whose decoded size exceeds `dataset.memory_gigabytes` is streamed (see `stream`), and so is a
    training split with random crops. Labels without names are read once to find the classes.

    Raises: InputError when there is no such dataset, it is not prepared in the directory, it has no image and label
      features (see `find_features`), or its images are not squares of one size and `dataset.image_size` is neither
      set nor automatic.
    """
    directory = str(to_path(dataset.data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'))
    import_tensorflow()
    if any('\ud800' <= letter <= '\udfff' for letter in directory + dataset.name):  # a byte that is not UTF-8
        raise InputError(f'dataset {dataset.name!r} in {directory!r}: TensorFlow opens no path that is not UTF-8')
    builder = _builder(dataset.name, directory)
    features = find_features(builder, dataset)
    if prepared or (features.class_names is None and dataset.class_names is None):
        _require_prepared(builder, dataset.name, directory)
    channels = dataset.channels or (1 if features.shape[-1] == 1 else 3)
    theirs = _splits(builder, dataset)
    image_size, scale = dataset.image_size, dataset.crop_scale
    if not image_size and not (theirs and is_auto(dataset, 'dataset.image_size')):
        image_size = _common_size(features.shape, dataset.name)
    if theirs and (is_auto(dataset, 'dataset.image_size') or is_auto(dataset, 'dataset.crop_scale')):
        some = _feature(builder, features.image_key, next(iter(theirs.values()))).take(MEASURED)
        with naming_damage(builder.data_dir):
            sides = np.array([image.shape[:2] for image in some.as_numpy_iterator()])
        image_size, scale = choose_sizes(dataset.name, sides, image_size, dataset)
    sizes = {name: builder.info.splits[split].num_examples for name, split in theirs.items()}
    in_memory = fits_in_memory(sum(sizes.values()), image_size, channels, dataset)
    class_names, to_label, to_image = features.class_names, None, None
    if sizes and (features.is_sequence or class_names is None or not features.is_encoded):
        with naming_damage(builder.data_dir):
            # As for a folder, the classes are those of the training split, unless the data is scored whole.
            of_classes = theirs if whole or 'train' not in theirs else {'train': theirs['train']}
            class_names, to_label, to_image = _conversions(builder, features, of_classes)
    names = choose_class_names(class_names or dataset.class_names, dataset)

    def own(name: str):
        where = f'split {theirs[name]!r} in {builder.data_dir}'
        records = functools.partial(_records, builder, theirs[name], features, to_label, to_image)

        def check(labels):
            if len(labels) and not (labels.min() >= 0 and labels.max() < len(names)):
                found = f'labels {labels.min()}..{labels.max()}, {len(names)} classes'
                remedy = 'choose another split (for the report: --config.eval.final_split=validation)'
                raise InputError(f'{where}: has examples without a known label ({found}): {remedy}')
            return labels.astype(np.int32)

        def read(file, draw):
            crop = draw and drawn_crop(scale, dataset.crop_ratio, *draw)
            with open_picture(io.BytesIO(file)) as picture:
                return fit(picture, image_size, channels, dataset.resize, crop)

        def decode(encoded, labels, draws):
            try:
                images = map_images(read, (image_size, image_size, channels), encoded, draws)
            except InputError as error:
                if any(isinstance(link, MemoryError) for link in with_causes(error)):
                    raise RunError(f'{where}: a picture could not be read: out of memory') from error
                remedy = 'if the data is damaged, remove the directory and prepare it again'
                raise InputError(f'{where}: a picture {error}: {remedy}') from error
            return images, check(labels)

        stored_labels = functools.cache(lambda: check(read_labels(records, where)))
        num_bytes = builder.info.splits[theirs[name]].num_bytes
        split = StreamedSplit(records, decode, stored_labels, sizes[name], num_bytes, where, cropped=bool(scale))
        return _loaded(split, image_size, channels) if in_memory and not (scale and name == 'train') else split

    family = dataset.name.split(':')[0]
    numbered = names == tuple(map(str, range(len(names))))  # TFDS names classes without names in this way
    characters = {family, family.split('/')[0]} & CHARACTER_DATASETS or (not numbered and are_characters(names))
    tested = tested_fraction(set(sizes), dataset, whole)
    division = Division.of(sizes, dataset, tested)
    if tested:
        log.info('%s: has only %s; a fixed fifth of each class is the test split', dataset.name, theirs['train'])
    return Source(image_size, channels, names, not characters, division, own, crop_scale=scale)


def _builder(name: str, directory: str):
    family, _, version = name.partition(':')
    family = family.split('/')[0]
    known = tfds.list_builders(with_community_datasets=False)
    stored = family and is_directory(to_path(directory) / family)  # prepared by the user's own builder
    if not (family in known or stored) or version[:1] not in '0123456789*':  # 'community:name' would use the network
        kinds = (os.path.isdir, 'folder', FOLDER_PREFIX), (os.path.isfile, 'table', TABLE_PREFIX)
        for is_there, what, prefix in kinds:
            if is_there(name):
                raise InputError(f'there is no dataset {name!r}; for the pictures in that {what}, use {prefix}{name}')
        near = did_you_mean(family, ['digits', *known])
        raise InputError(f'there is no dataset {name!r}{near}; for your own pictures, use {FOLDER_PREFIX}<path>')
    try:
        return tfds.builder(name, data_dir=directory, try_gcs=False)
    except Exception as error:  # a builder's module may raise anything, e.g. for a missing package
        if is_store_fault(error) and is_passing(error):
            raise
        if '/' in name and family in known:
            configs = [f'{family}/{config.name}' for config in tfds.builder_cls(family).BUILDER_CONFIGS]
            if name.split(':')[0] not in configs:
                raise InputError(f'there is no dataset {name!r}{did_you_mean(name, configs)}') from error
        reason = ' '.join(str(error).split())
        raise InputError(f'dataset {name!r} in {directory} cannot be opened: {reason[:300]}') from error


def _require_prepared(builder, name: str, directory: str) -> None:
    if builder.info.splits:
        if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
            remedy = 'prepare it as tfrecord in another directory, and set --config.dataset.data_dir=DIR'
            raise InputError(f'{name} in {builder.data_dir} is an array_record, which tf.data does not read: {remedy}')
        return
    raise InputError(
        f'{name} {builder.version} is not prepared in {directory} (looked for {builder.data_dir}): prepare it with '
        f'`python -c "import tensorflow_datasets as tfds; tfds.builder({name!r}, data_dir={directory!r})'
        f'.download_and_prepare()"`, or say where it is: TFDS_DATA_DIR=DIR in the environment, or '
        f'--config.dataset.data_dir=DIR{OR_ARCHIVE if name == "cifar10" else ""}; configs/digits.py needs no download'
    )


def _splits(builder, dataset) -> dict[str, str]:
    """Maps 'train', 'validation' and 'test' to the dataset's own splits; empty if the dataset is not prepared."""
    names, theirs, there = split_names(dataset), {}, list(builder.info.splits)
    if there:
        check_split_names(dataset.name, names, there)
    for split in there:
        ours = names.get(split.lower())
        if ours in theirs:
            both, flag = f'{theirs[ours]} and {split}', f'--config.dataset.splits=train=train,{ours}={split}'
            raise InputError(f'{dataset.name}: {both} are both the {ours} split: choose one, e.g. {flag}')
        if ours:
            theirs[ours] = split
    if there and not theirs:
        which = f'name the splits, e.g. --config.dataset.splits=train={there[0]}'
        raise InputError(f'{dataset.name} has the splits {", ".join(there)}, whose names are not known: {which}')
    return {name: theirs[name] for name in ('train', 'validation', 'test') if name in theirs}


def _conversions(builder, features: Features, theirs: dict[str, str]):
    """Returns (class names, function stored label → number, function stored image → PNG or None).

    Classes without names are the values of the labels in the splits `theirs`; another value gets the number -1.
    """
    vocabulary, to_image, where = None, None, builder.info.full_name
    opened = functools.partial(_feature, builder)
    if features.class_names is None or features.is_sequence:
        splits = [opened(features.label_key, split).as_numpy_iterator() for split in theirs.values()]
        vocabulary = read_vocabulary(itertools.chain(*splits), f'{where}, {features.label_key}')
    if not features.is_encoded:
        to_image = encode_arrays(opened(features.image_key, next(iter(theirs.values()))), features, where)
    if features.class_names:
        return features.class_names, plain_labels(features, None), to_image
    names = [value.decode(errors='replace') if isinstance(value, bytes) else str(value) for value in vocabulary]
    return tuple(names), plain_labels(features, vocabulary), to_image


def _feature(builder, key: str, split: str):
    """Returns one feature of the examples of a split, decoded, as a `tf.data.Dataset`."""
    decoders = tfds.decode.PartialDecoding({key: True})
    config = tfds.ReadConfig(try_autocache=False)
    with without_absl_warnings():  # TFDS warns of its own use of `FeatureConnector.dtype` in partial decoding
        examples = builder.as_dataset(split=split, shuffle_files=False, read_config=config, decoders=decoders)
    return examples.map(lambda example: example[key])


def _common_size(shape, name: str) -> int:
    height, width = shape[:2]
    if height is None or height != width:
        size = 'differ in size' if None in (height, width) else f'are {height}x{width}, not square'
        flag = f'--config.dataset.image_size={height or 64}'
        raise InputError(f'the images of {name} {size}: set the size to resize them to, e.g. {flag}')
    return height


def _records(builder, split: str, features: Features, to_label, to_image, seed: int | None, positioned: bool):
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
    image_key, label_key = features.image_key, features.label_key
    skipped = {image_key: tfds.decode.SkipDecoding()} if features.is_encoded else None
    decoders = tfds.decode.PartialDecoding({image_key: True, label_key: True}, decoders=skipped)
    with without_absl_warnings():
        examples = builder.as_dataset(
            split=split, shuffle_files=seed is not None, read_config=config, decoders=decoders
        )

    def plain(example):
        image, label = example.pop(image_key), example.pop(label_key)
        image, label = to_image(image) if to_image else image, to_label(label) if to_label else label
        return example | {'image': image, 'label': label}

    if to_label or (image_key, label_key) != ('image', 'label'):
        examples = examples.map(plain, num_parallel_calls=tf.data.AUTOTUNE)
    if not positioned:
        return examples
    if seed is None:
        return examples.enumerate().map(lambda position, example: example | {'position': position})

    info = builder.info.splits[split]
    starts = tf.constant(list(itertools.accumulate(info.shard_lengths[:-1], initial=0)), tf.int64)
    starts = tf.lookup.KeyValueTensorInitializer(tf.constant(list(info.filenames)), starts)
    first = tf.lookup.StaticHashTable(starts, default_value=-1)

    def with_position(example):
        parts = tf.strings.split(example.pop('tfds_id'), '__')  # <file>__<index in the file>
        file = tf.strings.reduce_join(parts[:-1], separator='__')
        return example | {'position': first.lookup(file) + tf.strings.to_number(parts[-1], tf.int64)}

    return examples.map(with_position, num_parallel_calls=tf.data.AUTOTUNE)


def _loaded(split: StreamedSplit, image_size: int, channels: int) -> Split:
    images = np.empty((split.num_stored, image_size, image_size, channels), np.uint8)
    labels = np.empty(split.num_stored, np.int32)
    for number, batch in enumerate(split.in_order(READ_BATCH, slice(None))):
        rows = slice(number * READ_BATCH, (number + 1) * READ_BATCH)
        images[rows], labels[rows] = batch
    return Split(labels, images.__getitem__, in_memory=True)
