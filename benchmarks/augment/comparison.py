"""Measures the cost of augmentation, compared with a training step and with the same policy in other libraries."""

import contextlib
import functools
import itertools
import logging
import os
import statistics

import jax

from benchmarks.process import Process, last_core, random_batch
from dsconv import config as configuration
from dsconv.augment import make_augment
from dsconv.config_checks import resolve_without_data
from dsconv.errors import InputError
from dsconv.performance import machine
from dsconv.performance.timing import in_turn, median_ratio, seconds_per_call
from dsconv.process import SWITCH
from dsconv.reporting import text_table
from dsconv.training.mesh import batch_sharding, replicated, to_global
from dsconv.training.network import image_shape
from dsconv.training.setup import build_training

OURS = 'dsconv'
# Keys of `augment` that the peers follow, or that have no effect here. The peers support only defaults of other keys.
FOLLOWED = ('crop_padding', 'randaugment_layers', 'randaugment_magnitude', 'fill', 'clean_tail_epochs')
# One thread on the CPU, whatever the library.
ONE_THREAD = {'JAX_PLATFORMS': 'cpu', 'CUDA_VISIBLE_DEVICES': ''}
ONE_THREAD |= dict.fromkeys(
    ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS'), '1'
)


# The rows of the table: the name in `--peers`, the variant for `prepare`, and how its work differs from ours.
DSCONV = (OURS, '', 'the default policy, image by image')
ROWS = (
    ('pillow', '', 'the same, and NumPy for crop, flip and mixing'),
    ('torchvision', 'by image', 'the same, transforms.v2 image by image; its own ranges'),
    ('torchvision', 'by batch', 'one crop, flip and policy for the whole batch'),
    ('keras', 'tensorflow', 'one crop and two operations for the whole batch; no AutoAugment; tf.function'),
    ('keras', 'jax', 'the same as under TensorFlow, not compiled: RandomCrop cannot be'),
)
PEERS = tuple(dict.fromkeys(library for library, _, _ in ROWS))


def measure(config, peers=PEERS, rounds: int = 9, seconds: float = 1.0) -> dict:
    """Measures the training step of a loaded config, and `peers`, each for at least `seconds` in each of `rounds`.

    Returns the object that `--json` prints: settings, surroundings, `step` (see `step_share`) and `peers` (see `race`).
    Raises InputError if the peers do not support the config's augmentation, RunError if a peer fails.
    """
    config = resolve_without_data(config)
    if peers:
        check_same_policy(config)
    log = logging.getLogger('dsconv')
    log.info('the training step: compiling, then %d rounds', rounds)
    step = step_share(config, rounds, seconds)
    if peers:
        log.info('%s: starting, then %d rounds', ', '.join((OURS, *peers)), rounds)
    return {
        'model': config.model.name,
        'dim': config.model.dim,
        'depth': config.model.depth,
        'batch_size': config.batch_size,
        'image_shape': image_shape(config),
        'augment': config.augment.to_dict(),
        'rounds': rounds,
        'allocator': os.environ.get(SWITCH, 'system'),
        **machine.surroundings(),
        'step': step,
        'peers': race(config, peers, rounds, seconds) if peers else [],
    }


def check_same_policy(config) -> None:
    """Raises InputError unless the peers support the augmentation of `config`, a resolved config."""
    followed = tuple(f'augment.{key}:' for key in FOLLOWED)
    lines = configuration.differences(resolve_without_data(configuration.defaults()), config)
    differing = [line for line in lines if line.startswith(('augment.', 'dataset.channels:'))]
    if differing := [line for line in differing if not line.startswith(followed)]:
        raise InputError(f'the peers support only the default augmentation ({"; ".join(differing)}); use --peers=none')


def step_share(config, rounds: int, seconds: float) -> dict:
    """Measures `augment_seconds` and `step_seconds` per batch, in turn on the same devices, and their ratio `share`."""
    training = build_training(config, num_examples=100 * config.batch_size)
    batch = random_batch(task(config))
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
    runs = {'augment_seconds': run_augmentation, 'step_seconds': run_step}
    values = in_turn({key: functools.partial(seconds_per_call, run, seconds) for key, run in runs.items()}, rounds)
    return {'share': median_ratio(values['augment_seconds'], values['step_seconds']), **values}


def race(config, peers, rounds: int, seconds: float) -> list[dict]:
    """Measures dsconv and its peers in turn on the same core, in images per second of CPU time.

    Returns rows of `name`, `work`, and either `images_per_second` (one value per round), their `median` and `ratio`
    (the median of dsconv's ÷ the row's), or `missing`, the name of the missing Python module.
    """
    settings, environment, rows, measures = task(config), os.environ | ONE_THREAD, {}, {}

    def rate(process):
        return config.batch_size / process.call('augment', seconds=seconds)['seconds']

    with contextlib.ExitStack() as stack:
        for library, variant, work in (DSCONV, *(row for row in ROWS if row[0] in peers)):
            name, module = f'{library}, {variant}'.rstrip(', '), f'benchmarks.augment.{library}_peer'
            process = stack.enter_context(Process(module, settings | {'variant': variant}, environment))
            rows[name] = {'name': name, 'work': work}
            if process.missing:
                rows[name]['missing'] = process.missing
                continue
            for _ in range(2):  # compiles
                process.call('augment', seconds=0)
            measures[name] = functools.partial(rate, process)
        values = in_turn(measures, rounds)
    for name, own in values.items():
        ratio = median_ratio(values[OURS], own)
        rows[name] |= {'images_per_second': own, 'median': statistics.median(own), 'ratio': ratio}
    return list(rows.values())


def task(config) -> dict:
    """Returns the settings for every peer's `prepare`, except its variant."""
    return {
        'batch_size': config.batch_size,
        'image_shape': image_shape(config),
        'classes': len(config.dataset.class_names),
        'augment': config.augment.to_dict() | {'clean_tail_epochs': 0},  # as in the epochs before the clean tail
        'core': last_core(),
    }


def as_text(result: dict) -> str:
    step, rounds = result['step'], result['rounds']
    augment_seconds, step_seconds = (statistics.median(step[key]) for key in ('augment_seconds', 'step_seconds'))
    lines = [
        f'Augmentation alone: {100 * step["share"]:.2f} % of the time of the training step that it is part of '
        f'({1000 * augment_seconds:,.1f} of {1000 * step_seconds:,.0f} ms for {result["batch_size"]} images), '
        f'{result["devices"]}, {result["cores"]} cores. Medians of {rounds} rounds in turn.'
    ]
    if result['peers']:
        header, rows = ['', 'images/s of one core', f'{OURS} ÷ it', 'work'], []
        for row in result['peers']:
            missing = f'not installed ({row.get("missing")}): pip install -r benchmarks/requirements.txt'
            work = missing if 'missing' in row else row['work']
            rows.append([row['name'], row.get('median'), row.get('ratio'), work])
        lines += ['', text_table(header, rows)]
    return '\n'.join(lines)
