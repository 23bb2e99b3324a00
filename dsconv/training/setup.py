"""Builds the parts of a run from a config: data, network, optimizer, and the initial state."""

import dataclasses
import functools
import logging
from collections.abc import Callable

import flax.linen as nn
import jax
import numpy as np

from dsconv import data
from dsconv.augment import make_augment
from dsconv.config import defaults, flatten
from dsconv.config_checks import check_splits, not_taken, resolve
from dsconv.errors import InputError, shown
from dsconv.training.distillation import make_soft_targets, resolve_teachers
from dsconv.training.loss import resolve_class_weights
from dsconv.training.memory import image_bytes
from dsconv.training.mesh import batch_sharding, check_batch_size, make_mesh, peers, replicated
from dsconv.training.network import build_network, image_shape
from dsconv.training.optimizer import make_optimizer, make_schedule
from dsconv.training.run import kept_pictures
from dsconv.training.state import create_state
from dsconv.training.step import make_train_step

logger = logging.getLogger('dsconv')


def open_source(config, workdir=None) -> data.Source:
    """Opens the dataset of a loaded config. The processes of a run divide the first decoding of pictures among them.

    A resumed run on picture files uses the list of pictures in its workdir, even if the folder has changed since.
    """
    dataset, listed = kept_pictures(workdir, config.dataset)
    return data.open_source(dataset, processes=peers(), listed=listed)


def open_data(config, source: data.Source | None = None):
    """Returns (source, training split, resolved config); raises InputError if `dataset.fingerprint` differs.

    Also resolves pixel statistics, fingerprints, class weights and the final split. Opens `source` by default.
    """
    source = source or open_source(config)
    config = resolve(config, source)
    final_split = source.final_split(config.eval.final_split)
    if final_split != config.eval.final_split:
        logger.info('%s: has no test split: the report is of the validation split', config.dataset.name)
        config.eval.final_split = final_split
    check_splits(config, source.split_sizes)
    train_split, dataset = source.load('train'), config.dataset
    _check_options(dataset, train_split)
    if dataset.balanced:
        train_split = dataclasses.replace(train_split, balanced=True)
    resolve_teachers(config.loss)
    config.loss.class_weights = resolve_class_weights(config.loss.class_weights, train_split, source.class_names)
    if dataset.mean is None or dataset.std is None:
        mean, std = data.channel_statistics(train_split)
        dataset.mean, dataset.std = dataset.mean or mean, dataset.std or std
    found = data.fingerprint(source.own('train'))
    if dataset.fingerprint not in (None, found):
        give = 'use the data of the config, divided in the same way, or set --config.dataset.fingerprint=none'
        has = f'the training images of {dataset.name} have {found}'
        raise InputError(f'dataset.fingerprint={shown(dataset.fingerprint)}, but {has}: {give}')
    is_whole, left = train_split.num_examples == source.own('train').num_examples, None
    if train_split.in_memory:
        left = found if is_whole else data.fingerprint(train_split)
    if not peers().agree(found, left, tuple(dataset.mean), tuple(dataset.std)):
        raise InputError(f'{dataset.name}: the processes of the run see different images: give them all the same data')
    dataset.fingerprint, dataset.train_fingerprint = found, left
    return source, train_split, config


def _check_options(dataset, split):
    """Raises InputError if `balanced` or `on_device` cannot be used because the images are streamed or cropped."""
    gigabytes, most = image_bytes(dataset, split.num_examples) / 1e9, dataset.memory_gigabytes
    if dataset.balanced and not hasattr(split, 'balanced'):
        instead = (
            'set dataset.crop_scale=none' if dataset.crop_scale else f'raise dataset.memory_gigabytes (now {most:g})'
        )
        streamed = f'{dataset.name} is streamed: use loss.class_weights=balanced, or {instead}'
        raise InputError(f'dataset.balanced=true needs data that can be read in any order, but {streamed}')
    if not dataset.on_device:
        return
    if dataset.crop_scale:
        raise InputError(
            'dataset.on_device=true and dataset.crop_scale cannot be combined, because crops are decoded every epoch: '
            'set dataset.on_device=false or dataset.crop_scale=none'
        )
    if not split.in_memory:
        raise InputError(
            f'dataset.on_device=true needs data in memory, but the data exceeds '
            f'dataset.memory_gigabytes={most:g} and is read from disk: set dataset.on_device=false, or raise '
            f'dataset.memory_gigabytes if {gigabytes:.3g} GB of training images fit on each device'
        )
    logger.info('dataset.on_device: %.3g GB of training images on each device', gigabytes)


@dataclasses.dataclass(frozen=True)
class Training:
    """The parts of a training run on `mesh`.

    `schedule` maps a step to its learning rate. `new_state()` returns the `TrainState` before the first step, on all
    devices. An epoch has only whole batches.
    """

    model: nn.Module
    mesh: jax.sharding.Mesh
    schedule: Callable
    train_step: Callable
    new_state: Callable
    steps_per_epoch: int
    total_steps: int


def build_training(config, num_examples: int, devices=None) -> Training:
    """Builds the training of a resolved config for `num_examples` images; raises InputError."""
    standard, chosen = flatten(defaults()), flatten(config)
    if unused := not_taken(config, [key for key in chosen if chosen[key] != standard[key]]):
        logger.info('ignored: %s', ', '.join(f'{key} ({choice} does not take it)' for key, choice in unused.items()))
    mesh = make_mesh(devices)
    check_batch_size(config.batch_size, mesh)
    model = build_network(config, mesh)
    steps_per_epoch = num_examples // config.batch_size
    total_steps = config.epochs * steps_per_epoch
    warmup_steps = round(config.schedule.warmup_epochs * steps_per_epoch)
    schedule = make_schedule(config.schedule, warmup_steps, total_steps)
    optimizer = make_optimizer(config.optimizer, schedule)
    augment = make_augment(config.to_dict(), len(config.dataset.class_names), mesh)
    soft_targets = make_soft_targets(config, mesh)
    averaging = config.optimizer.ema_decay is not None
    new_state = functools.partial(create_state, model, optimizer, image_shape(config), config.seed, averaging)
    return Training(
        model=model,
        mesh=mesh,
        schedule=schedule,
        train_step=make_train_step(config, model, optimizer, augment, soft_targets, steps_per_epoch, mesh),
        new_state=jax.jit(new_state, out_shardings=replicated(mesh)),
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
    )


def compile_steps(config, training: Training, state, steps: int):
    """Compiles a dispatch of `steps` training steps, from a state or its shapes, so that `train_step` need not."""
    sharding = batch_sharding(training.mesh, leading_axes=1)
    images = jax.ShapeDtypeStruct((steps, config.batch_size, *image_shape(config)), np.uint8, sharding=sharding)
    labels = jax.ShapeDtypeStruct((steps, config.batch_size), np.int32, sharding=sharding)
    return training.train_step.lower(state, images, labels).compile()
