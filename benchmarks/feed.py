"""Measures how fast a training run's code feeds random images to the devices from memory, a folder or TFRecords."""

import contextlib
import importlib.util
import io
import itertools
import logging
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from dsconv import data
from dsconv.config import defaults
from dsconv.config_checks import resolve_without_data
from dsconv.data.read_ahead import import_tensorflow
from dsconv.data.splits import Split
from dsconv.performance import machine
from dsconv.performance.timing import in_turn
from dsconv.reporting import text_table
from dsconv.training.loop import dispatches
from dsconv.training.network import image_shape
from dsconv.training.progress import Progress
from dsconv.training.setup import build_training

MEMORY_IMAGES, MEMORY_BYTES = 50_000, 500_000_000  # CIFAR-10's training split, or as many larger images
STREAMED_PICTURES, SIDE = 2_000, 224  # JPEGs, and their width and height in pixels, before they are resized
WARM_UP = 2  # dispatches; dispatches that are read in parallel arrive together
CASES = {
    'memory': 'from memory to the devices',
    'memory, host alone': 'from memory, batches not put on the devices',
    'on_device': "from the devices' own memory (dataset.on_device)",
    'folder': f'from a folder of {SIDE}×{SIDE} JPEGs to the devices',
    'tfrecord': 'from TFRecords of the same JPEGs to the devices',
}


def measure(config, rounds: int = 5, seconds: float = 1.5, pictures: int = STREAMED_PICTURES) -> dict:
    """Measures the `CASES` in turn, for `seconds` in each of `rounds`; TFRecords only if TensorFlow is installed.

    Returns the object that `--json` prints: settings, surroundings, and `images_per_second`: case → `median`, `min`,
    `max`, `by_round`. The dataset of `config` is not read.
    """
    config = resolve_without_data(config)
    config.dataset.on_device = False  # is a separate case
    config.epochs = 10**6  # endless
    with tempfile.TemporaryDirectory(prefix='dsconv-benchmark-') as directory:
        logging.getLogger('dsconv').info('writing pictures, then %d rounds', rounds)
        streams = _open_streams(config, Path(directory), max(pictures, config.batch_size))
        measures = {case: lambda stream=stream: images_per_second(stream, seconds) for case, stream in streams.items()}
        values = in_turn(measures, rounds)
    return {
        'batch_size': config.batch_size,
        'steps_per_dispatch': config.steps_per_dispatch,
        'image_shape': image_shape(config),
        'rounds': rounds,
        **machine.surroundings(),
        'images_per_second': {
            case: {'median': statistics.median(rates), 'min': min(rates), 'max': max(rates), 'by_round': rates}
            for case, rates in values.items()
        },
    }


def images_per_second(stream: Callable[[], Iterator[int]], seconds: float, clock: Callable = time.perf_counter):
    """Reads `stream()`, which yields numbers of arrived images, for `seconds` after a warm-up; returns images/s."""
    with contextlib.closing(stream()) as counts:  # an open stream would keep reading during the next case
        for _ in itertools.islice(counts, WARM_UP):
            pass
        start, images = clock(), 0
        for count in counts:
            images += count
            if (passed := clock() - start) >= seconds:
                return images / passed


def _open_streams(config, directory: Path, pictures: int) -> dict[str, Callable]:
    """Returns case → the stream that `images_per_second` reads."""
    memory = memory_split(config)
    write_folder(directory / 'folder', pictures, len(config.dataset.class_names))
    streamed = {'folder': f'image_folder:{directory / "folder"}'}
    if importlib.util.find_spec('tensorflow'):
        write_records(directory / 'folder', directory / 'records')
        streamed['tfrecord'] = 'pictures'
    splits = {case: streamed_split(config, name, directory / 'records') for case, name in streamed.items()}
    placed = config.copy_and_resolve_references()
    placed.dataset.on_device = True
    streams = {
        'memory': lambda: _to_devices(config, memory),
        'memory, host alone': lambda: _to_host(config, memory),
        'on_device': lambda: _to_devices(placed, memory),
    }
    return streams | {case: lambda split=split: _to_devices(config, split) for case, split in splits.items()}


def _to_devices(config, split) -> Iterator[int]:
    """Reads the split as a training run does, and waits until each batch is on the devices."""
    training = build_training(config, split.num_examples)
    with contextlib.closing(dispatches(config, training, split, 0, Progress(config, training, 0))) as batches:
        for _, (images, labels) in batches:
            jax.block_until_ready((images, labels))
            yield labels.size


def _to_host(config, split) -> Iterator[int]:
    steps = config.epochs * (split.num_examples // config.batch_size)
    options = dict(batch_size=config.batch_size, seed=config.seed, start_step=0, num_steps=steps)
    with contextlib.closing(data.train_batches(split, **options)) as batches:
        for _, labels in batches:
            yield labels.size


def memory_split(config):
    """Returns random images in memory, as many as `MEMORY_IMAGES` and `MEMORY_BYTES` allow, at least a batch."""
    shape = image_shape(config)
    count = max(config.batch_size, min(MEMORY_IMAGES, MEMORY_BYTES // math.prod(shape)))
    random = np.random.default_rng(0)
    images = np.frombuffer(random.bytes(count * math.prod(shape)), np.uint8).reshape(count, *shape)
    labels = random.integers(0, len(config.dataset.class_names), count, np.int32)
    return Split(labels, images.__getitem__, in_memory=True)


def write_folder(folder: Path, count: int, classes: int) -> None:
    """Writes `count` JPEGs of smooth random colours, `SIDE` × `SIDE` pixels, to `folder/<class>/<number>.jpg`."""
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f'{number % classes:03d}' / f'{number:06d}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (7, 7, 3), np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)


def write_records(folder: Path, directory: Path) -> None:
    """Writes the files of `write_folder` as the dataset `pictures` of TensorFlow Datasets to `directory`."""
    import_tensorflow()
    import tensorflow_datasets as tfds

    files = sorted(folder.glob('*/*.jpg'))
    image = tfds.features.Image(shape=(SIDE, SIDE, 3), encoding_format='jpeg')
    label = tfds.features.ClassLabel(num_classes=len({file.parent for file in files}))
    examples = [(file.name, {'image': str(file), 'label': int(file.parent.name)}) for file in files]
    features, store = tfds.features.FeaturesDict({'image': image, 'label': label}), tfds.dataset_builders
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # logs its progress
        store.store_as_tfds_dataset('pictures', '1.0.0', features, {'train': examples}, data_dir=directory)


def streamed_split(config, name: str, data_dir: Path):
    """Returns the training split of the dataset `name`, streamed, with images resized as in the config."""
    dataset = defaults().dataset
    of_images = ('image_size', 'channels', 'resize', 'crop_scale', 'crop_ratio')
    dataset.update({key: config.dataset[key] for key in of_images})
    dataset.update(name=name, data_dir=str(data_dir), memory_gigabytes=0.0)
    return data.open_source(dataset, whole=True).own('train')


def as_text(result: dict) -> str:
    batch = result['batch_size']
    rows = [
        [CASES[case], rates['median'], rates['min'], rates['max'], 1000 * batch / rates['median']]
        for case, rates in result['images_per_second'].items()
    ]
    height, width, channels = result['image_shape']
    return (
        f'Shuffled batches of {batch} images of {height}×{width}×{channels}, nothing trained, on {result["devices"]}, '
        f'{result["cores"]} cores. Images/s, of {result["rounds"]} rounds in turn.\n\n'
        + text_table(['', 'median', 'least', 'most', 'ms a batch'], rows)
    )
