"""Recalibration: estimates the running statistics of batch norm on clean images after training on augmented ones."""

import dataclasses
import functools

import jax
import optax

from dsconv import data
from dsconv.training.evaluation import ema_share, scored_variables
from dsconv.training.mesh import batch_sharding, peers, replicated, to_global
from dsconv.training.microbatching import accumulation_steps, mean_over_microbatches
from dsconv.training.state import TrainState
from dsconv.training.step import normalise


def recalibrate(config, training, state: TrainState, split) -> TrainState:
    """Replaces the running statistics of batch norm, as evaluated, with means over `eval.recalibration_batches`.

    The batches are the first of the run on `split`, uncropped and not augmented (Wu & Johnson 2021, "Rethinking 'Batch'
    in BatchNorm", section 3). `state` is the state after the last step. Without batch norm the state is unchanged.
    """
    if 'batch_stats' not in state.variables:
        return state
    count, mesh = config.eval.recalibration_batches, training.mesh

    @functools.partial(jax.jit, in_shardings=(replicated(mesh), batch_sharding(mesh)), out_shardings=replicated(mesh))
    def statistics_of(variables, images):
        # At a count of −1, `batch_norm.BatchNorm` ignores the old statistics and returns the batch's statistics.
        weightless = jax.tree_util.tree_map_with_path(
            lambda path, old: old * 0 - 1 if path[-1].key == 'count' else old, variables['batch_stats']
        )
        fresh = variables | {'batch_stats': weightless}

        def of_microbatch(inputs):
            _, updated = training.model.apply(fresh, inputs, train=True, mutable='batch_stats')
            return updated['batch_stats']

        inputs = normalise(images, config.dataset.mean, config.dataset.std)
        steps = accumulation_steps(config, mesh)  # as in training: the groups of batch norm are the same
        return mean_over_microbatches(of_microbatch, steps, mesh.size, inputs)

    order = dict(batch_size=config.batch_size, seed=config.seed, start_step=0, num_steps=count)
    batches = data.train_batches(dataclasses.replace(split, cropped=False), **order, processes=peers())
    updates = int(state.step) - int(state.nonfinite_steps)
    variables = scored_variables(config, state.variables, state.average, updates)
    statistics = (statistics_of(variables, to_global(mesh, images)) for images, _ in batches)
    total = functools.reduce(optax.tree.add, statistics)
    if state.average is None or updates == 0:  # every step was skipped: the network itself is evaluated
        return state.replace(variables=_with_statistics(state.variables, total, count))
    # The EMA is stored with its bias towards zero, which `scored_variables` removes.
    biased = count / ema_share(config, updates)
    return state.replace(average=_with_statistics(state.average, total, biased))


def _with_statistics(variables, total, divisor):
    def mean(path, old, sums):
        return old if path[-1].key == 'count' else sums / divisor

    return variables | {'batch_stats': jax.tree_util.tree_map_with_path(mean, variables['batch_stats'], total)}
