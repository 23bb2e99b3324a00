"""The network of a config, and that of a checkpoint."""

import functools
import math
from pathlib import Path

import jax

from dsconv import config as configuration
from dsconv.config import defaults
from dsconv.config_checks import check_resolved
from dsconv.errors import InputError, beginning_with
from dsconv.files import to_path
from dsconv.models import FAST_OPTIONS, build_model
from dsconv.training.checkpoint import Checkpoints
from dsconv.training.checksums import identity
from dsconv.training.evaluation import scored_variables
from dsconv.training.mesh import make_mesh, peers, replicated
from dsconv.training.microbatching import accumulation_steps, fold
from dsconv.training.run import is_published
from dsconv.training.state import init_variables

# Platforms on which the fast form was measured, or estimated by the compiler, to be faster: docs/cpu.md, docs/tpu.md.
FAST_PLATFORMS = ('cpu', 'tpu')


def image_shape(config) -> tuple[int, int, int]:
    """Returns (height, width, channels) of a resolved config."""
    return (config.dataset.image_size, config.dataset.image_size, config.dataset.channels)


def build_network(config, mesh=None):
    """Builds the Linen module of a resolved config; with `mesh`, the module that trains on one microbatch."""
    options = config.model.to_dict() | {'implementation': _implementation(config, mesh)}
    if mesh is None:
        options['fold'] = 1
    else:
        steps = accumulation_steps(config, mesh)
        # Without batch norm a microbatch may have any size, and the groups are not used.
        options['norm_groups'] = math.gcd(max(1, options['norm_groups'] // steps), config.batch_size // steps)
        options['fold'], options['shards'] = fold(config, mesh), math.lcm(mesh.size, options['norm_groups'])
    return build_model(options, len(config.dataset.class_names))


def _implementation(config, mesh) -> str:
    """Returns 'plain' or 'fast'; 'auto' is fast on `FAST_PLATFORMS`, or if one of the `FAST_OPTIONS` is set."""
    if config.model.implementation != 'auto':
        return config.model.implementation
    is_asked_for = any(config.model[key] != value for key, value in defaults().model.items() if key in FAST_OPTIONS)
    platform = jax.default_backend() if mesh is None else mesh.devices.flat[0].platform
    return 'fast' if platform in FAST_PLATFORMS or is_asked_for else 'plain'


def restore_network(workdir: Path, config, which: str | None = None):
    """Returns (Linen module, variables, step) of a checkpoint of the run of `config`, on all devices.

    `which` is 'latest', 'best', a step, or None: the best if there is a validation split, else the latest. Raises
    InputError if the config is not resolved, or the checkpoint is missing or damaged.
    """
    check_resolved(config)
    network = build_network(config)
    initial = functools.partial(init_variables, network, image_shape(config), config.seed)
    shape = jax.eval_shape(jax.jit(initial, out_shardings=replicated(make_mesh())))
    with Checkpoints(workdir, read_only=True) as checkpoints:
        step = checkpoints.choose(which)
        averaging = config.optimizer.ema_decay is not None and not is_published(workdir)  # publishing stores the EMA
        model = checkpoints.restore_model(step, {'variables': shape, 'average': shape if averaging else None})
    if not peers().agree(step, identity(to_path(workdir) / 'checkpoints' / str(step))):
        raise InputError(f'{workdir}: the processes of the run see different networks: give them all the same one')
    updates = step - model['nonfinite_steps']
    return network, scored_variables(config, model['variables'], model['average'], updates), step


def default_step(workdir: Path) -> int:
    """Returns the step that `restore_network` chooses by default, without restoring it."""
    with Checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.choose(None)


def restore_trained(key: str, path: str):
    """Restores the network in `path`, the value of a key of a config.

    Returns (its config, Linen module, variables, step). Raises InputError as `restore_network`, beginning with the key.
    """
    with beginning_with(f'{key}={path}: '):
        workdir = configuration.find_workdir(path)
        trained = configuration.load_run(workdir)
        return trained, *restore_network(workdir, trained)


def count_parameters(variables) -> int:
    """Returns the number of trainable parameters of a network's variables, or of their shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
