"""Compares an exported file, run by its own runtime, with the network in JAX."""

import contextlib
import dataclasses
import functools
import logging
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dsconv.data import unlabelled
from dsconv.data.picture import EXTENSIONS, read_picture
from dsconv.data.source import public_name
from dsconv.data.stratified import evenly, stratified_split
from dsconv.data.threads import map_images
from dsconv.errors import InputError, shown
from dsconv.files import absolute, is_directory, is_file, name_beside, to_path
from dsconv.performance.timing import in_turn, seconds_per_call
from dsconv.training.examples import drawn_otherwise, match_classes
from dsconv.training.setup import open_source

# The largest difference of a probability that rounding can explain.
ROUNDING = {'float32': 1e-4, 'float16': 2e-2}
ROUNDS, SECONDS = 7, 0.2

logger = logging.getLogger('dsconv')


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Pictures for checking the files and for the int8 calibration.

    Attributes:
      origin: a description of their source.
      images: uint8 `(n, height, width, channels)`.
      labels: int `(n,)`, −1 for an unknown class.
      calibration: uint8 images, or None if no calibration is requested.
    """

    origin: str
    images: np.ndarray
    labels: np.ndarray
    calibration: np.ndarray | None


def find_pictures(config, workdir: Path, folder: Path | None, count: int, calibrating: int) -> Pictures:
    """Returns at most `count` pictures for the checks, from a folder or the run's data; noise if that data is missing.

    From the run's data, uses the validation split if it exists and is unchanged, otherwise the training images.
    `calibrating` pictures, the same share of every class, are for the int8 calibration: from the folder or the training
    images. Pictures that were added to the run's folder later are not used.

    Raises:
      InputError: the folder has no pictures, a picture cannot be read, or there are none for the calibration.
    """
    dataset = config.dataset
    if folder:
        return _of_folder(folder, dataset, count, calibrating)
    try:
        return _of_run(config, workdir, count, calibrating)
    except InputError as error:
        if calibrating:
            instead = 'give some with --pictures=FOLDER'
            raise InputError(f'--precision=int8 needs real pictures: {instead} ({error})') from error
        logger.warning('the files are checked on random noise: %s', error)
        generator, side = np.random.default_rng(0), dataset.image_size
        images = generator.integers(0, 256, (min(count, 100), side, side, dataset.channels), np.uint8)
        return Pictures('random noise instead of the data of the run', images, np.full(len(images), -1), None)


def _of_run(config, workdir, count, calibrating):
    source = open_source(config, workdir)
    split = 'validation' if 'validation' in source.split_sizes else 'train'
    if fault := drawn_otherwise(config, source, split):
        logger.warning('%s; the files are checked on training images', fault)
        split = 'train'
    checked, calibration = source.load(split), None
    if calibrating:
        train = source.load('train')
        calibration = train.images(_stratified(train.labels, calibrating))
    rows = evenly(checked.num_examples, count)
    part = {'validation': 'the validation split', 'train': 'the training images'}[split]
    origin = f'{part} of {public_name(config.dataset.name)}'
    return Pictures(origin, checked.images(rows), checked.labels[rows], calibration)


def _of_folder(folder, dataset, count, calibrating):
    found = map(to_path, unlabelled.find_pictures([folder]))
    paths = [path for path in found if path.suffix.lower() in EXTENSIONS or (not path.suffix and is_file(path))]
    if not paths:
        is_there = is_directory(folder) or is_file(folder)
        wrong = 'has no pictures' if is_there else f'does not exist{name_beside(folder, is_directory)}'
        raise InputError(f'--pictures={folder} {wrong}')
    paths = [paths[row] for row in evenly(len(paths), max(count, calibrating))]
    size, channels = dataset.image_size, dataset.channels
    read = functools.partial(read_picture, image_size=size, channels=channels, resize=dataset.resize)
    images = map_images(read, (size, size, channels), paths)
    labels = _labels(paths, to_path(folder), dataset.class_names)
    calibration = images[_stratified(labels, calibrating)] if calibrating else None
    rows = evenly(len(paths), count)
    return Pictures(f'the pictures of {absolute(folder).name}', images[rows], labels[rows], calibration)


def _labels(paths, folder, class_names):
    """Returns the class of each picture: the nearest parent folder, up to `folder`, with the name of a class; or −1."""
    inside = [[each.name for each in path.parents if folder in (each, *each.parents)] for path in paths]
    above = [names or [path.parent.name] for names, path in zip(inside, paths, strict=True)]
    names = sorted(set().union(*above))
    numbers = dict(zip(names, match_classes(names, class_names), strict=True))
    labels = np.array([next((numbers[name] for name in each if numbers[name] >= 0), -1) for each in above])
    if unknown := int((labels < 0).sum()):
        text = '--pictures: %d of %d pictures are in no folder that is named as a class (%s): accuracy leaves them out'
        logger.warning(text, unknown, len(labels), shown(class_names))
    return labels


def _stratified(labels, count):
    """Returns the indices of `count` examples, the same share of every class."""
    return stratified_split(labels, min(count, len(labels)), seed=0)[1]


def compare(answer: np.ndarray, reference: np.ndarray, labels: np.ndarray) -> dict:
    """Compares the probabilities of an exported network with `reference`, the probabilities from JAX.

    Returns:
      `max_difference` of any probability; top-1 `agreement`; `accuracy` and `loss_of_accuracy`, None without labels;
      `labelled`, the number of pictures with a known label, or of all pictures if no label is known.
    """
    labelled = int(np.sum(labels >= 0))
    right, right_in_jax = accuracy(answer, labels), accuracy(reference, labels)
    return {
        'max_difference': float(np.abs(answer - reference).max()),
        'agreement': float(np.mean(answer.argmax(1) == reference.argmax(1))),
        'labelled': labelled or len(answer),
        'accuracy': right,
        'loss_of_accuracy': right_in_jax - right if labelled else None,
    }


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    """Returns the top-1 accuracy on the pictures with a known label, or None if no label is known."""
    known = labels >= 0
    return float(np.mean(probabilities.argmax(1)[known] == labels[known])) if known.any() else None


def fault(result: dict, precision: str, largest_loss: float) -> str | None:
    """Returns why a file fails its check, or None if it passes."""
    if allowed := ROUNDING.get(precision):
        differs = result['max_difference']  # may be NaN, which fails the comparison
        return None if differs <= allowed else f'a probability differs by {differs:.2g}, more than {allowed:g}'
    loss, pictures, what = result['loss_of_accuracy'], result['labelled'], 'accuracy'
    if loss is None:
        loss, what = 1 - result['agreement'], 'top-1 agreement'
    lost = round(loss * pictures)
    if lost <= largest_loss * pictures + 1e-6:  # tolerates rounding errors
        return None
    found = f'{100 * loss:.2f} points of {what} are lost, {lost:,} of {pictures:,} pictures'
    return f'{found}, more than --largest-loss={100 * largest_loss:g}: raise it, or leave int8 out'


def milliseconds(networks: dict[str, Callable], image: np.ndarray) -> dict[str, float]:
    """Times the networks in turn on one picture, on one core; returns the median of each in milliseconds.

    Measures the CPU time of this process, so other processes on the same core do not count.
    """
    calls = {name: functools.partial(network, image[None]) for name, network in networks.items()}
    for call in calls.values():  # compiles
        call()
    measures = {name: functools.partial(seconds_per_call, calls[name], SECONDS, time.process_time) for name in calls}
    with _one_core():
        taken = in_turn(measures, ROUNDS)
    return {name: 1000 * statistics.median(values) for name, values in taken.items()}


@contextlib.contextmanager
def _one_core():
    """Keeps all threads of the process on one core, so that JAX also uses only one. Does nothing except on Linux."""
    if not hasattr(os, 'sched_setaffinity'):
        yield
        return
    cores = os.sched_getaffinity(0)

    def keep_on(some):
        for thread in os.listdir('/proc/self/task'):
            with contextlib.suppress(OSError):  # the thread has ended
                os.sched_setaffinity(int(thread), some)

    keep_on({max(cores)})
    try:
        yield
    finally:
        keep_on(cores)
