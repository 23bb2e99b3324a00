"""What augmentation costs: beside the training step that it is part of, and beside the same policy in other libraries.

Both on random pictures, so that no dataset is needed.
"""

import contextlib
import functools
import itertools
import logging
import os
import statistics
from typing import NamedTuple

from dsconv import config as configuration
from dsconv.config_checks import resolve
from dsconv.errors import InputError
from dsconv.performance import machine
from dsconv.performance.timing import in_turn, median_ratio, seconds_per_call
from dsconv.performance.worker import Worker, last_core, pictures
from dsconv.training.setup import build_training, image_shape

OURS = 'dsconv'
# Settings of `augment` that the peers follow, or that do not matter; in the others they have the defaults alone.
FOLLOWED = ('crop_padding', 'randaugment_layers', 'randaugment_magnitude', 'fill', 'clean_tail_epochs')
PACKAGES = ('jax', 'jaxlib', 'numpy', 'pillow', 'torch', 'torchvision', 'keras', 'tensorflow', 'tensorflow-cpu')


class Peer(NamedTuple):
    """A row of the table.

    Attributes:
      library: what `--peers` calls it.
      variant: which of its library's rows, handed on to the worker.
      work: where it does other work than the default policy, image by image.
    """

    library: str
    variant: str
    work: str


PEERS = (
    Peer('pillow', '', 'the same, and NumPy for crop, flip and mixing'),
    Peer('torchvision', 'by image', 'the same, transforms.v2 image by image; its own ranges'),
    Peer('torchvision', 'by batch', 'one crop, flip and policy for the whole batch'),
    Peer('keras', 'tensorflow', 'one crop and two operations for the whole batch; no AutoAugment; tf.function'),
    Peer('keras', 'jax', 'the same as under TensorFlow, not compiled: RandomCrop cannot be'),
)
LIBRARIES = tuple(dict.fromkeys(peer.library for peer in PEERS))


class _Pictures(NamedTuple):
    """Stands for a dataset, for `resolve`."""

    image_size: int
    channels: int
    class_names: tuple
    flippable: bool = True


def measure(config, libraries=LIBRARIES, rounds: int = 9, seconds: float = 1.0) -> dict:
    """Measures both, in `rounds` of at least `seconds` each.

    Args:
      config: a loaded config; of images whose size it leaves to the data, CIFAR-10's is taken.
      libraries: of `LIBRARIES`, or none.

    Returns:
      What `--json` prints: settings, surroundings, `step` (see `step_share`) and `peers` (see `race`).

    Raises:
      InputError: the config's augmentation is one that the peers do not have.
      RunError: a peer that can be imported fails.
    """
    config = on_pictures(config)
    if libraries:
        check_same_policy(config)
    log = logging.getLogger('dsconv')
    log.info('the training step: compiling, then %d rounds', rounds)
    step = step_share(config, rounds, seconds)
    if libraries:
        log.info('%s: starting, then %d rounds', ', '.join((OURS, *libraries)), rounds)
    return {
        'what': 'augment',
        'model': config.model.name,
        'dim': config.model.dim,
        'depth': config.model.depth,
        'batch_size': config.batch_size,
        'image_shape': image_shape(config),
        'augment': config.augment.to_dict(),
        'rounds': rounds,
        **_surroundings(),
        'step': step,
        'peers': race(config, libraries, rounds, seconds) if libraries else [],
    }


def on_pictures(config):
    """`config`, resolved for random pictures."""
    dataset = config.dataset
    class_names = dataset.class_names or tuple(map(str, range(10)))
    config = resolve(config, _Pictures(dataset.image_size or 32, dataset.channels or 3, class_names))
    for key in ('mean', 'std'):
        config.dataset[key] = config.dataset[key] or (0.5,) * config.dataset.channels
    return config


def check_same_policy(config) -> None:
    """Raises InputError unless the peers can do what `config`, resolved, asks for."""
    followed = tuple(f'augment.{key}:' for key in FOLLOWED)
    differing = [
        line
        for line in configuration.differences(on_pictures(configuration.defaults()), config)
        if line.startswith(('augment.', 'dataset.channels:')) and not line.startswith(followed)
    ]
    if differing:
        raise InputError(f'the peers have the default augmentation alone ({"; ".join(differing)}); take --peers=none')


def step_share(config, rounds: int, seconds: float) -> dict:
    """The part of a training step's time that its augmentation takes alone, on the same devices, in turn.

    Returns:
      `augment_seconds` and `step_seconds` a batch, round by round, and `share`, the median of their ratios.
    """
    import jax

    from dsconv.augment import make_augment
    from dsconv.training.mesh import batch_sharding, replicated, to_global

    training = build_training(config, num_examples=100 * config.batch_size)
    batch = pictures(worker_settings(config))
    augment = make_augment(config.to_dict(), len(config.dataset.class_names), training.mesh)
    batches = batch_sharding(training.mesh)

    @functools.partial(jax.jit, in_shardings=(replicated(training.mesh), batches, batches))
    def augmented(number, images, labels):
        return augment(jax.random.fold_in(jax.random.key(config.seed), number), 0, images, labels)

    alone, numbers = to_global(training.mesh, batch), itertools.count()
    within, state = to_global(training.mesh, tuple(part[None] for part in batch), leading_axes=1), training.new_state()

    def run_augmentation():
        jax.block_until_ready(augmented(next(numbers), *alone))

    def run_step():
        nonlocal state
        state, loss = training.train_step(state, *within)
        jax.block_until_ready((state, loss))

    for run in 2 * (run_augmentation, run_step):  # compiles
        run()
    measures = {
        'augment_seconds': lambda: seconds_per_call(run_augmentation, seconds),
        'step_seconds': lambda: seconds_per_call(run_step, seconds),
    }
    values = in_turn(measures, rounds)
    return {'share': median_ratio(values['augment_seconds'], values['step_seconds']), **values}


def race(config, libraries, rounds: int, seconds: float) -> list[dict]:
    """Images a second of one core's time, of this project and its peers on one and the same core, in turn.

    Returns:
      Rows of `name`, `work`, and `images_per_second` round by round, their `median` and `ratio`, the median of
      `images_per_second` of ours ÷ its own; or `missing`, a Python module.
    """
    settings = worker_settings(config)
    rows = [{'name': OURS, 'work': 'the default policy, image by image'}]
    modules = [(__name__, '')]
    for library, variant, work in PEERS:
        if library in libraries:
            rows.append({'name': f'{library}, {variant}'.rstrip(', '), 'work': work})
            modules.append((f'benchmarks.augment.{library}_peer', variant))
    with contextlib.ExitStack() as started:
        workers = [started.enter_context(Worker(module, settings | {'variant': v})) for module, v in modules]
        measures = {
            row['name']: functools.partial(worker.images_per_second, seconds)
            for row, worker in zip(rows, workers, strict=True)
            if not worker.missing
        }
        values = in_turn(measures, rounds)
    for row, worker in zip(rows, workers, strict=True):
        if worker.missing:
            row['missing'] = worker.missing
        else:
            own = row['images_per_second'] = values[row['name']]
            row |= {'median': statistics.median(own), 'ratio': median_ratio(values[OURS], own)}
    return rows


def prepare(settings: dict):
    """For `dsconv.performance.worker`: this project's own augmentation of a batch."""
    import jax

    from dsconv.augment import make_augment

    augment = make_augment({'epochs': 1, 'augment': settings['augment']}, settings['classes'])
    batch, numbers = jax.device_put(pictures(settings)), itertools.count()

    @jax.jit
    def augmented(number, images, labels):
        return augment(jax.random.fold_in(jax.random.key(0), number), 0, images, labels)

    return lambda: jax.block_until_ready(augmented(next(numbers), *batch))


def as_text(result: dict) -> str:
    """`measure`'s result for a terminal."""
    from dsconv.reporting import text_table

    step, rounds = result['step'], result['rounds']
    augment_seconds, step_seconds = (statistics.median(step[key]) for key in ('augment_seconds', 'step_seconds'))
    lines = [
        f'Augmentation alone: {100 * step["share"]:.2f} % of the time of the training step that it is part of '
        f'({1000 * augment_seconds:,.1f} of {1000 * step_seconds:,.0f} ms for {result["batch_size"]} images), '
        f'{result["devices"]}, {result["cores"]} cores. Medians of {rounds} rounds in turn.'
    ]
    if result['peers']:
        header = ['', 'images/s of one core', f'{OURS} ÷ it', 'work']
        rows = [[row['name'], row.get('median'), row.get('ratio'), _work(row)] for row in result['peers']]
        lines += ['', text_table(header, rows)]
    return '\n'.join(lines)


def _work(row):
    if 'missing' in row:
        return f'not installed ({row["missing"]}): pip install -r benchmarks/requirements.txt'
    return row['work']


def worker_settings(config) -> dict:
    """What a worker is told."""
    return {
        'batch_size': config.batch_size,
        'image_shape': image_shape(config),
        'classes': len(config.dataset.class_names),
        'augment': config.augment.to_dict(),
        'core': last_core(),
    }


def _surroundings():
    """The devices, this machine's cores, memory allocator, and versions of what is installed."""
    import jax

    return {
        'devices': f'{jax.device_count()} × {jax.devices()[0].device_kind}',
        'cores': machine.cores(),
        'allocator': os.environ.get('DSCONV_ALLOCATOR', 'system'),
        'versions': machine.versions(PACKAGES),
    }
