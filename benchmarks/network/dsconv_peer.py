"""dsconv's network with the step of a training run, and the export that its peers start from."""

from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from benchmarks.process import random_batch
from dsconv import config as configuration
from dsconv.training.mesh import replicated, to_global
from dsconv.training.network import build_network, count_parameters, image_shape
from dsconv.training.setup import build_training
from dsconv.training.state import init_variables
from dsconv.training.step import make_logits, normalise


def export(config, directory: Path) -> tuple[dict, dict]:
    """Writes the start of every contender: the resolved config, and `arrays.npz` with a batch and variables by path.

    Returns ({`parameters`: their number, `logits`: float32 `(batch, classes)`}, the settings for every contender).
    """
    configuration.save_run(directory, config, {})
    classes, file, shape = len(config.dataset.class_names), directory / 'arrays.npz', image_shape(config)
    images, labels = random_batch({'batch_size': config.batch_size, 'image_shape': shape, 'classes': classes})
    model, random = build_network(config), np.random.default_rng(config.seed)
    initial = jax.device_get(init_variables(model, shape, config.seed))
    variables = {name: _disturbed(name, array, random) for name, array in flatten_dict(initial, sep='/').items()}
    np.savez(file, images=images, labels=labels, **variables)
    variables = unflatten_dict(variables, sep='/')
    logits = jax.jit(model.apply)(variables, normalise(images, config.dataset.mean, config.dataset.std))
    settings = {
        'directory': str(directory),
        'arrays': str(file),
        'model': config.model.to_dict(),
        'classes': classes,
        'mean': config.dataset.mean,
        'std': config.dataset.std,
        'optimizer': config.optimizer.to_dict(),
        'learning_rate': config.schedule.peak_value,
    }
    return {'parameters': count_parameters(variables), 'logits': np.asarray(logits)}, settings


def _disturbed(name, array, random):
    """Randomises an initial scale, bias or statistic, so that a peer that swaps two of them returns other logits."""
    leaf = name.rpartition('/')[2]
    if leaf in ('kernel', 'count'):
        return array
    if leaf == 'var':
        return random.uniform(0.5, 1.5, array.shape).astype(array.dtype)
    return array + random.normal(0, 0.1, array.shape).astype(array.dtype)


def prepare(settings: dict) -> dict:
    """Builds the training step of the config in `settings['directory']`, with the exported variables."""
    config = configuration.load_run(Path(settings['directory']))
    training = build_training(config, num_examples=100 * config.batch_size)
    with np.load(settings['arrays'], allow_pickle=False) as arrays:
        batch = arrays['images'], arrays['labels']
        exported = {name: arrays[name] for name in arrays.files if '/' in name}
    variables = jax.device_put(unflatten_dict(exported, sep='/'), replicated(training.mesh))
    state = training.new_state().replace(variables=variables)
    images = to_global(training.mesh, batch[0])
    step_batch = to_global(training.mesh, tuple(part[None] for part in batch), leading_axes=1)
    logits = make_logits(config, training.model, training.mesh)

    def train():
        nonlocal state
        state, loss = jax.block_until_ready(training.train_step(state, *step_batch))
        return float(loss)

    return {
        'parameters': count_parameters(state.variables),
        'train': train,
        'inference': lambda: np.asarray(logits(state.variables, images)),
    }
