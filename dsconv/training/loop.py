"""The training run: restore, train, log, evaluate, save."""

import contextlib
import dataclasses
import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dsconv import data
from dsconv.config import flatten, load_run
from dsconv.errors import InputError, Preempted
from dsconv.reporting import MetricsLog, read_metrics
from dsconv.reporting.trackers import Trackers, check_trackers
from dsconv.training.checkpoint import Checkpoints
from dsconv.training.evaluation import Evaluator, scored_variables
from dsconv.training.memory import naming_remedies, remedies, tell_memory
from dsconv.training.mesh import peers, place_on_devices, to_global
from dsconv.training.network import count_parameters
from dsconv.training.progress import Progress, Trace
from dsconv.training.recalibration import recalibrate
from dsconv.training.run import check_workdir, lock_workdir, write_config
from dsconv.training.setup import build_training, compile_steps, open_data, open_source
from dsconv.training.stopping import Patience, StopRequest
from dsconv.training.transfer import initial_state, warn_of_seen_images

logger = logging.getLogger('dsconv')


def train(config, workdir: Path, source: data.Source | None = None, profile: int = 0) -> bool:
    """Trains or resumes the run in `workdir`; returns whether any steps were left to train.

    Args:
      config: a loaded config that is not resolved yet.
      source: the result of `setup.open_source(config, workdir)`; opened here by default.
      profile: the number of steps to trace into `workdir/profile`.

    Raises InputError if the config does not fit the data, the devices, their memory or the run in `workdir`; RunError
    if more than `max_skipped_steps` steps are not finite; Preempted after a stop signal, with the last step saved.
    """
    check_trackers(config.log.trackers)
    source, train_split, config = open_data(config, source or open_source(config, workdir))
    training = build_training(config, train_split.num_examples)
    shape = jax.eval_shape(training.new_state)  # before anything is written: the network may reject this image size
    check_workdir(workdir, config)
    monitored = 'validation' if 'validation' in source.split_sizes else config.eval.final_split
    monitored_split = source.load(monitored)
    _ = source.load(config.eval.final_split).labels  # raises if it has none, before the training and not after it
    holds_out = any(map(source.is_drawn, source.split_sizes))

    with lock_workdir(workdir), Checkpoints(workdir, config.checkpoint.keep) as checkpoints:
        with naming_remedies(remedies(config, training.mesh)):
            state = checkpoints.restore_newest(shape) or initial_state(config, training)
            first_step, last_step = int(state.step), training.total_steps
        planned = load_run(workdir).epochs if first_step else 0
        # If more epochs were planned, the work at the end of the run, such as recalibration, has not been done.
        if first_step > last_step or first_step == last_step and config.epochs < planned:
            trained = f'{workdir} has been trained to step {first_step} of epochs={planned}'
            raise InputError(
                f'epochs={config.epochs} ends at step {last_step}, but {trained}: set more epochs, or another --workdir'
            )
        patience = Patience(config, read_metrics(workdir), first_step)
        if patience.is_over and first_step < last_step:
            text = 'ended at step %d of %d: %s; to go on, raise eval.patience'
            logger.info(text, first_step, last_step, patience)
        if first_step == last_step or patience.is_over:
            return False
        if not first_step:
            warn_of_seen_images(config, holds_out)
        write_config(workdir, config, source)
        _announce(config, train_split, training, state, first_step)
        evaluator = Evaluator(config, training.model, training.mesh)
        progress = Progress(config, training, first_step)

        with (
            _open_log(workdir, config, first_step, training.steps_per_epoch) as (log, flush_log),
            StopRequest(training.mesh) as stop,
            checkpoints.finishing(),
            naming_remedies(remedies(config, training.mesh)),
            Trace(workdir / 'profile', profile) as trace,
        ):
            length = min(config.steps_per_dispatch, progress.next_line(first_step) - first_step)
            compiled = compile_steps(config, training, state, length)
            tell_memory(config, training.mesh, compiled, train_split.num_examples)
            for step, batches in dispatches(config, training, train_split, first_step, progress):
                with jax.profiler.StepTraceAnnotation('train', step_num=step):
                    state, loss = training.train_step(state, *batches)
                progress.advance(step, state, loss)
                with progress.paused():
                    trace.advance(step, state)

                if step == progress.next_line(step - 1):
                    log(step=step, split='train', **progress.summarise(step, state))
                    state = state.replace(metrics=jax.tree.map(jnp.zeros_like, state.metrics))

                if step == last_step and config.eval.recalibration_batches:
                    with progress.paused():
                        state = recalibrate(config, training, state, train_split)

                scores, is_best = None, False
                if _is_due(config.eval.every_epochs, step, training):
                    with progress.paused():
                        updates = step - int(state.nonfinite_steps)
                        variables = scored_variables(config, state.variables, state.average, updates)
                        scores = evaluator.score(variables, monitored_split)
                    log(step=step, split=monitored, **scores)
                    logger.info(f'  {monitored}: loss {scores["loss"]:.4f}, accuracy {100 * scores["accuracy"]:.2f} %')
                    is_best = monitored == 'validation' and patience.add(scores['accuracy'])

                stopping = stop.reached()
                if stopping or is_best or patience.is_over or _is_due(config.checkpoint.every_epochs, step, training):
                    with progress.paused():
                        progress.check(state)
                        flush_log()  # a resumed run does not write the lines before its checkpoint again
                        checkpoints.save(state, scores if monitored == 'validation' else None)
                if patience.is_over:
                    logger.info('ends at step %d of %d: %s', step, last_step, patience)
                    break
                if stopping:
                    raise Preempted(f'stopped after step {step} of {last_step}; a checkpoint was saved')
    return True


def _announce(config, train_split, training, state, first_step):
    dataset, devices = config.dataset, training.mesh.devices.flat
    images = f'{train_split.num_examples:,} training images of {dataset.image_size}×{dataset.image_size}'
    network = f'{config.model.name} of {count_parameters(state.variables):,} parameters'
    steps = f'resuming from step {first_step}' if first_step else f'{training.total_steps:,} steps'
    logger.info(
        f'{dataset.name}: {images}×{dataset.channels}, {len(dataset.class_names)} classes; {network} on '
        f'{len(devices)} × {devices[0].device_kind}; {steps}'
    )


def dispatches(config, training, split, step: int, progress):
    """Yields (last step, stacked global batches) of each dispatch; a dispatch ends early if a log line is due."""
    draw = None
    if config.dataset.on_device:
        draw = place_on_devices(split, training.mesh)
        split = dataclasses.replace(split, images=np.int32)  # the host sends indices; `draw` gathers the images
    order = dict(batch_size=config.batch_size, seed=config.seed, start_step=step, num_steps=training.total_steps)
    stream = data.train_batches(split, **order, processes=peers())
    while step < training.total_steps:
        length = min(config.steps_per_dispatch, progress.next_line(step) - step)
        with progress.waiting_for_input():
            parts = tuple(zip(*(next(stream) for _ in range(length)), strict=True))
        step += length
        images, labels = to_global(training.mesh, tuple(map(np.stack, parts)), leading_axes=1)
        yield step, (draw(images) if draw else images, labels)


def _is_due(every_epochs: int, step: int, training) -> bool:
    """Returns whether `step` ends the run, or an epoch whose number is a multiple of `every_epochs`."""
    return step % (every_epochs * training.steps_per_epoch) == 0 or step == training.total_steps


@contextlib.contextmanager
def _open_log(workdir: Path, config, step: int, steps_per_epoch: int):
    """Yields `log(step=…, split=…, **metrics)` and `flush()`; only process 0 writes."""
    if jax.process_index():
        yield lambda **metrics: None, lambda: None
        return
    with (
        Trackers(config.log.trackers, workdir, flatten(config), is_resumed=step > 0) as trackers,
        MetricsLog(workdir, restored_step=step, tensorboard=config.log.tensorboard, trackers=trackers) as metrics_log,
    ):
        yield lambda step, **line: metrics_log.write(step=step, epoch=step / steps_per_epoch, **line), metrics_log.flush
