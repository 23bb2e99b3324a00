"""The training run: restore, train, log, evaluate, save."""

import contextlib
from pathlib import Path

import jax
import numpy as np

from dsconv import data
from dsconv.errors import InputError
from dsconv.reporting import MetricsLog
from dsconv.training.checkpoint import Checkpoints, with_shardings
from dsconv.training.evaluation import Evaluator, scored_variables
from dsconv.training.mesh import check_batch_size, replicated, to_global
from dsconv.training.progress import Progress
from dsconv.training.run import claim_workdir
from dsconv.training.setup import build_training, open_data
from dsconv.training.state import Metrics


def train(config, workdir: Path) -> bool:
    """Trains, or goes on training, the run in `workdir`.

    Args:
      config: a loaded config, not resolved yet.
      workdir: made if it does not exist.

    Returns:
      Whether there was anything left to train.

    Raises:
      InputError: the config does not fit the data, the devices or the run that is in `workdir`.
      RunError: the loss is not finite any more; the last good checkpoint stays.
    """
    source, train_split, config = open_data(config)
    monitored = 'validation' if 'validation' in source.split_sizes else config.eval.final_split
    training = build_training(config, train_split.num_examples)
    check_batch_size(config.batch_size, training.mesh)
    claim_workdir(workdir, config)

    with Checkpoints(workdir, config.checkpoint.keep) as checkpoints:
        step = checkpoints.latest() or 0
        if step > training.total_steps:
            raise InputError(
                f'epochs={config.epochs} ends at step {training.total_steps}, but {workdir} has been '
                f'trained to step {step}; take more epochs or another workdir'
            )
        if step == training.total_steps:
            return False
        if step:
            shape = with_shardings(jax.eval_shape(training.init), replicated(training.mesh))
            state = checkpoints.restore(step, shape)
        else:
            state = training.new_state()
        evaluator = Evaluator(config, training.model, training.mesh)
        monitored_split = source.load(monitored)
        batches = data.train_batches(
            train_split,
            batch_size=config.batch_size,
            seed=config.seed,
            start_step=step,
            num_steps=training.total_steps,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        progress = Progress(config, training, step)

        with _open_log(workdir, step, training.steps_per_epoch, config.log.tensorboard) as log:
            while step < training.total_steps:
                length = min(config.steps_per_dispatch, _next_line(step, config.log.every_steps, training) - step)
                with progress.waiting_for_input():
                    images, labels = (np.stack(parts) for parts in zip(*(next(batches) for _ in range(length))))
                state, loss = training.train_step(state, *to_global(training.mesh, (images, labels), leading_axes=1))
                step += length
                progress.advance(step, state, loss)

                if step == _next_line(step - 1, config.log.every_steps, training):
                    log(step=step, split='train', **progress.summarise(step, state.metrics))
                    state = state.replace(metrics=jax.device_put(Metrics.zeros(), replicated(training.mesh)))
                epoch, rest = divmod(step, training.steps_per_epoch)
                if rest:
                    continue
                last = epoch == config.epochs
                scores = None
                with progress.paused():
                    if last or epoch % config.eval.every_epochs == 0:
                        variables = scored_variables(config, state.variables, state.average, step)
                        scores = evaluator.score(variables, monitored_split)
                        log(step=step, split=monitored, **scores)
                        progress.show_scores(monitored, scores)
                    if last or epoch % config.checkpoint.every_epochs == 0:
                        checkpoints.save(state, scores if monitored == 'validation' else None)
    return True


def _next_line(step: int, every_steps: int, training) -> int:
    """The first step after `step` that ends a line of the log: each `every_steps`, and the end of the epoch."""
    epoch_end = (step // training.steps_per_epoch + 1) * training.steps_per_epoch
    return min((step // every_steps + 1) * every_steps, epoch_end)


@contextlib.contextmanager
def _open_log(workdir: Path, step: int, steps_per_epoch: int, tensorboard: bool):
    """Gives `log(step=…, split=…, **metrics)`, which only process 0 writes."""
    if jax.process_index():
        yield lambda **metrics: None
        return
    with MetricsLog(workdir, restored_step=step, tensorboard=tensorboard) as metrics_log:
        yield lambda step, **line: metrics_log.write(step=step, epoch=step / steps_per_epoch, **line)
