"""This project's network as a contender of `dsconv.performance.network`, and what its peers start from.

The step is that of a training run, `dsconv.training.step.make_train_step`: it takes uint8 images and normalises them
itself.
"""

from pathlib import Path

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dsconv import config as configuration
from dsconv.performance.worker import pictures
from dsconv.training.mesh import replicated, to_global
from dsconv.training.setup import build_network, build_training, count_parameters, image_shape
from dsconv.training.state import init_variables
from dsconv.training.step import make_logits, normalise

ARRAYS = 'arrays.npz'


def export(config, directory: Path) -> dict:
    """Writes to `directory` what every contender starts from: the resolved config, a batch, and variables.

    `arrays.npz`, which is no pickle, holds `images`, uint8 `(batch, height, width, channels)`, `labels`, int32
    `(batch,)`, and the variables, float32, as `params/block_0/expand/kernel`. No scale, bias or running statistic has
    its initial value, so that whoever mistakes one of them shows it in the logits.

    Returns:
      `parameters`, their number, `logits`, float32 `(batch, classes)`, and `image_shape`.
    """
    configuration.save_run(directory, config, {})
    settings = {
        'batch_size': config.batch_size,
        'image_shape': image_shape(config),
        'classes': len(config.dataset.class_names),
    }
    images, labels = pictures(settings)
    model, random = build_network(config), np.random.default_rng(config.seed)
    initial = jax.device_get(init_variables(model, image_shape(config), config.seed))
    variables = {name: _disturbed(name, array, random) for name, array in flatten_dict(initial, sep='/').items()}
    np.savez(directory / ARRAYS, images=images, labels=labels, **variables)
    variables = unflatten_dict(variables, sep='/')
    logits = jax.jit(model.apply)(variables, normalise(images, config.dataset.mean, config.dataset.std))
    return {
        'parameters': count_parameters(variables),
        'logits': np.asarray(logits),
        'image_shape': settings['image_shape'],
    }


def _disturbed(name, array, random):
    """The initial value of the variable `name` with noise; kernels are random already, and `count` stays 0."""
    leaf = name.rpartition('/')[2]
    if leaf in ('kernel', 'count'):
        return array
    if leaf == 'var':
        return random.uniform(0.5, 1.5, array.shape).astype(array.dtype)
    return array + random.normal(0, 0.1, array.shape).astype(array.dtype)


def prepare(settings: dict) -> dict:
    """For `dsconv.performance.contender`: the training of the config in `settings['directory']`."""
    directory = Path(settings['directory'])
    config = configuration.load_run(directory)
    training = build_training(config, num_examples=100 * config.batch_size)
    with np.load(directory / ARRAYS, allow_pickle=False) as arrays:
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
