"""Finds the image and the label among the features of a dataset of TensorFlow Datasets, and converts them."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from dsconv.data.read_ahead import import_tensorflow
from dsconv.errors import InputError, did_you_mean

SCANNED = 100  # images whose pixels tell whether an array lies in [0, 1] or in [0, 255]


@dataclasses.dataclass(frozen=True)
class Features:
    """The image and the label of a dataset.

    Attributes:
      image_key: name of the image feature.
      label_key: name of the label feature.
      shape: (height, width, channels) of the images; None for each that varies.
      class_names: one per label; None if the labels of all examples must be read first.
      is_encoded: whether images are stored as encoded files, which are decoded like the user's pictures.
      is_sequence: whether the label is stored as a sequence of one label.
    """

    image_key: str
    label_key: str
    shape: tuple[int | None, int | None, int]
    class_names: tuple[str, ...] | None
    is_encoded: bool
    is_sequence: bool


def find_features(builder, dataset) -> Features:
    """Finds image and label by `dataset.{image,label}_key`, `supervised_keys`, name, or as the only one of its type.

    Raises: InputError, naming dtype and shape, when there is no such feature or it cannot be read.
    """
    features, name = dict(builder.info.features.items()), builder.info.full_name
    pair = builder.info.supervised_keys or ()
    pair = pair if len(pair) == 2 and all(key in features for key in map(str, pair)) else (None, None)
    kinds = {'image': tfds.features.Image, 'label': tfds.features.ClassLabel}
    keys = {}
    for (what, kind), supervised in zip(kinds.items(), pair, strict=True):
        wanted = getattr(dataset, f'{what}_key')
        if wanted is not None and wanted not in features:
            raise InputError(
                f'dataset.{what}_key={wanted} is not a feature of {name}, which has {", ".join(features)}'
                f'{did_you_mean(wanted, features)}'
            )
        usual = what if isinstance(features.get(what), kind) else None
        only = [key for key, feature in features.items() if isinstance(feature, kind)]
        keys[what] = (
            wanted or supervised or usual or (only[0] if len(only) == 1 else what if what in features else None)
        )
        if keys[what] is None:
            raise InputError(
                f'{name} is not a set of labelled pictures, or does not say which feature is the {what}: it has '
                f'{_described(features)}; name it, e.g. --config.dataset.{what}_key=NAME'
            )
    image, label = (features[keys[what]] for what in ('image', 'label'))
    shape = _image_shape(image)
    is_sequence = isinstance(label, tfds.features.Sequence) and getattr(label.feature, 'shape', None) == ()
    scalar = label.feature if is_sequence else label
    is_scalar = getattr(scalar, 'shape', None) == () and np.dtype(scalar.np_dtype).kind in 'iubOSU'
    for what, fits in (('image', shape), ('label', is_scalar)):
        if not fits:
            raise InputError(
                f'{name} is not a set of labelled pictures that can be read: its {what} is '
                f'{_described({keys[what]: features[keys[what]]})}; another feature: --config.dataset.{what}_key=NAME '
                f'of {_described(features)}'
            )
    is_encoded = isinstance(image, tfds.features.Image) and np.dtype(image.np_dtype) in (np.uint8, np.uint16)
    names = tuple(scalar.names) if isinstance(scalar, tfds.features.ClassLabel) else None
    return Features(keys['image'], keys['label'], shape, names, is_encoded, is_sequence)


def _image_shape(feature):
    """Returns (height, width, channels), or None if the feature is not an image."""
    shape = getattr(feature, 'shape', None)
    if not isinstance(shape, tuple) or np.dtype(feature.np_dtype).kind not in 'iuf':  # a dict for a group of features
        return None
    shape = (*shape, 1) if len(shape) == 2 else tuple(shape)
    return shape if len(shape) == 3 and shape[-1] in (1, 3, 4, None) else None


def _described(features) -> str:
    """Returns a list of the features as text: name, dtype and shape."""

    def one(key, feature):
        shape = getattr(feature, 'shape', None)
        if isinstance(shape, dict):  # a group of features
            return f'{key} ({type(feature).__name__})'
        return f'{key} {np.dtype(feature.np_dtype).name.replace("object", "text")}{shape}'

    return ', '.join(one(key, feature) for key, feature in features.items())


def read_vocabulary(labels, where: str) -> tuple:
    """Returns the sorted distinct values of `labels`, an iterable of labels as stored.

    Raises: InputError when a label does not have exactly one value.
    """
    values = set()
    for label in labels:
        if np.size(label) != 1:
            raise InputError(f'{where}: an example has {np.size(label)} labels; one is needed')
        values.add(np.ravel(label)[0])
    return tuple(value if isinstance(value, bytes) else int(value) for value in sorted(values))


def plain_labels(features: Features, vocabulary: tuple | None):
    """Returns a TensorFlow function: label as stored → int64, or -1 if it is not in the vocabulary."""
    tf = import_tensorflow()
    first = (lambda label: label[0]) if features.is_sequence else lambda label: label
    if vocabulary is None:
        return lambda label: tf.cast(first(label), tf.int64)
    keys = tf.constant(vocabulary)
    keys = keys if keys.dtype == tf.string else tf.cast(keys, tf.int64)
    numbers = tf.range(len(vocabulary), dtype=tf.int64)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, numbers), default_value=-1)
    return lambda label: table.lookup(tf.cast(first(label), keys.dtype))


def encode_arrays(images, features: Features, where: str):
    """Returns a TensorFlow function: image as an array → PNG, which is then read like a picture file.

    Args:
      images: a `tf.data.Dataset`, whose first `SCANNED` images (all of uint16) determine the range of the pixels:
        [0, 255] for uint8, the full range for uint16 with values above 255, and otherwise [0, 1] or [0, 255].

    Raises: InputError when a scanned pixel is outside these ranges.
    """
    tf = import_tensorflow()
    spec = images.element_spec
    scale, is_deep = 1.0, False
    if spec.dtype != tf.uint8:
        some = images if spec.dtype == tf.uint16 else images.take(SCANNED)  # any value above 255 changes the range
        ends = [(image.min(), image.max()) for image in some.as_numpy_iterator() if image.size]
        low, high = np.min(ends or 0), np.max(ends or 0)  # NaN if any pixel is NaN
        is_deep = spec.dtype == tf.uint16 and high > 255  # PNG stores 16-bit values as they are
        if not (is_deep or low >= 0 and high <= 255):
            raise InputError(
                f'{where}: the images in {features.image_key} ({spec.dtype.name}{tuple(spec.shape)}) have pixels from '
                f'{low:g} to {high:g}, and not in 0..1 or 0..255'
            )
        scale = 255.0 if high <= 1 else 1.0

    def encode(image):
        image = image[..., None] if image.shape.rank == 2 else image
        if image.dtype != tf.uint8 and not is_deep:
            image = tf.round(tf.clip_by_value(tf.cast(image, tf.float32) * scale, 0.0, 255.0))
            image = tf.cast(image, tf.uint8)
        return tf.io.encode_png(image)

    return encode
