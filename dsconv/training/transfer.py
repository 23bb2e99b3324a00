"""Initialises a run from a trained network, and warns of trained networks that have seen its validation images."""

import logging

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from dsconv import config as configuration
from dsconv.data.source import public_name
from dsconv.errors import InputError, shown
from dsconv.training.mesh import replicated
from dsconv.training.network import restore_trained

logger = logging.getLogger('dsconv')
# Keys of `model` that may change the network without changing the shapes of its arrays.
NOT_IN_ARRAYS = ('activation', 'patch_size', 'residual_block', 'residual_depthwise')
SAME_IMAGES = ('class_names', 'train_fraction', 'image_size', 'channels', 'resize')  # keys of `dataset`


def initial_state(config, training):
    """Returns the state before the first step, with the weights and batch statistics of `init_from` if it is set.

    The weights are those that `evaluate` scores. The head is new if the classes differ; the optimizer, the EMA and the
    step count of batch norm are reset. Raises InputError if `init_from` has no checkpoint, or if a shape does not fit.
    """
    state = training.new_state()
    if config.init_from is None:
        return state
    old, _, variables, step = restore_trained('init_from', config.init_from)
    is_new_head = old.dataset.class_names != config.dataset.class_names
    there, here = (flatten_dict(each, sep='/') for each in (variables, state.variables))
    if is_new_head:
        there |= {name: leaf for name, leaf in here.items() if name.split('/')[1] == 'head'}
    shapes_there, shapes_here = ({name: leaf.shape for name, leaf in leaves.items()} for leaves in (there, here))
    names = [name for name in shapes_here | shapes_there if shapes_here.get(name) != shapes_there.get(name)]
    differing = [f'{name} {shown(shapes_there.get(name))} there, {shown(shapes_here.get(name))} here' for name in names]
    if differing:
        raise InputError(
            f'init_from={config.init_from}: its network differs from this one: {"; ".join(differing[:3])}'
            f'{"; …" if len(differing) > 3 else ""}; set model.* to the values in its config.json'
        )
    # Batch norm counts the steps of a run: with the old count, the statistics of the old data would fade slowly.
    there |= {name: 0 * leaf for name, leaf in there.items() if name.endswith('/count')}
    for key in NOT_IN_ARRAYS:
        if old.model[key] != config.model[key]:
            text = '%s was trained with model.%s=%s, here it is %s'
            logger.warning(text, config.init_from, key, shown(old.model[key]), shown(config.model[key]))
    head = f'the head is new, for {len(config.dataset.class_names)} classes' if is_new_head else 'with its head'
    logger.info('starts from %s, step %d: %s', config.init_from, step, head)
    return state.replace(variables=unflatten_dict(jax.device_put(there, replicated(training.mesh)), sep='/'))


def warn_of_seen_images(config, holds_out: bool) -> None:
    """Warns of the networks in `init_from` and `loss.teachers` that may have seen images that the run `holds_out`."""
    now, trained = config.dataset, (config.init_from, *(config.loss.teachers or ()))
    for path in filter(None, trained if holds_out else ()):
        then = configuration.load_run(configuration.find_workdir(path)).dataset
        is_alike = then.fingerprint == now.fingerprint or public_name(then.name) == public_name(now.name)
        is_alike &= all(then[key] == now[key] for key in SAME_IMAGES)
        if is_alike and len({then.train_fingerprint, now.train_fingerprint} - {None}) == 2:
            text = '%s may have been trained on images that this run holds out: the accuracy on them may be too high'
            logger.warning(text, path)
