"""Microbatches: how many a batch is split into, how many parts an image is folded into, and the loop over them."""

import math

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dsconv.errors import InputError
from dsconv.models import has_batch_norm

TPU_LANES = 128  # lanes of the vector and matrix units of a core
CPU_BYTES = 2**22  # of a block's output, for a microbatch that fits in a CPU's caches: a third more images/s


def accumulation_steps(config, mesh) -> int:
    """Returns the number of microbatches per batch: the config's, or if unset, as many as suit a CPU's caches, else 1.

    Raises InputError if the config's number does not divide `most_accumulation_steps`.
    """
    images, units = config.batch_size // mesh.size, most_accumulation_steps(config, mesh)
    steps = config.accumulation_steps
    if steps is None:
        is_suited = config.model.name == 'dsconv' or has_batch_norm(config.model)  # others have no known best size
        if mesh.devices.flat[0].platform != 'cpu' or not is_suited:
            return 1
        return max(n for n in range(1, units + 1) if units % n == 0 and (n == 1 or images // n >= _cpu_images(config)))
    if units % steps:
        whole = 'model.norm_groups' if has_batch_norm(config.model) else 'batch_size'
        raise InputError(
            f'accumulation_steps={steps} must divide {units}, the number of microbatches that {whole} allows on each '
            f'of {mesh.size} device(s); use a divisor of it, or set {whole} to a multiple of {steps * mesh.size}'
        )
    return steps


def most_accumulation_steps(config, mesh) -> int:
    """Returns the largest number of microbatches on a device: one per norm group, or per image without batch norm."""
    images, groups = config.batch_size // mesh.size, config.model.norm_groups
    if not has_batch_norm(config.model):
        return images
    return math.gcd(groups // mesh.size if groups % mesh.size == 0 else 1, images)


def fold(config, mesh) -> int:
    """Returns the number of parts of a folded training image: `model.fold`, or as many as fit a TPU's lanes, else 1."""
    if config.model.fold or mesh.devices.flat[0].platform != 'tpu':
        return config.model.fold or 1
    rows = config.dataset.image_size // config.model.patch_size
    images = config.batch_size // mesh.size // accumulation_steps(config, mesh)
    halo = max(config.model.kernel_size // 2, 1)  # rows of a part that its neighbours need
    parts = 1
    while 2 * parts * images <= TPU_LANES and rows % (2 * parts) == 0 and rows // (2 * parts) >= halo:
        parts *= 2
    return parts


def inference_steps(config, images: int, mesh) -> int:
    """Returns the number of microbatches in inference: on a CPU, as many as suit its caches if they divide, else 1."""
    if mesh.devices.flat[0].platform != 'cpu':
        return 1
    on_device, suited = images // mesh.size, _cpu_images(config)
    largest = max(n for n in range(1, suited + 1) if on_device % n == 0)
    return on_device // largest if largest > suited // 2 else 1


def _cpu_images(config) -> int:
    """Returns the images per microbatch on a CPU: Small 32, Medium 16, Large 4; any network is taken to be a dsconv."""
    places = max(1, config.dataset.image_size // config.model.patch_size) ** 2
    return max(1, CPU_BYTES // (4 * places * config.model.dim))


def mean_over_microbatches(function, steps: int, devices: int, *batch):
    """Averages the results of `function`, pytrees of arrays, over `steps` microbatches of `batch`.

    Each microbatch takes an equal part of the rows on every device, so that nothing moves between devices.
    """
    if steps == 1:
        return function(*batch)

    def add(total, part):
        return optax.tree.add(total, function(*part)), None

    parts = [_cut(array, steps, devices) for array in batch]
    result = jax.eval_shape(function, *(part[0] for part in parts))
    total, _ = lax.scan(add, jax.tree.map(jnp.zeros_like, result), parts)
    return jax.tree.map(lambda leaf: leaf / steps, total)


def over_microbatches(function, steps: int, devices: int, batch):
    """Computes `function(batch)`, an array with one row per row of `batch`, in `steps` consecutive microbatches."""
    if steps == 1:
        return function(batch)
    parts = lax.map(function, _cut(batch, steps, devices))
    rows = parts.reshape(steps, devices, -1, *parts.shape[2:]).swapaxes(0, 1)
    return rows.reshape(len(batch), *parts.shape[2:])


def _cut(array, steps, devices):
    """Reshapes `(batch, …)` to `(steps, batch / steps, …)`; each step has an equal part of each device's rows."""
    parts = array.reshape(devices, steps, -1, *array.shape[1:]).swapaxes(0, 1)
    return parts.reshape(steps, -1, *array.shape[1:])
