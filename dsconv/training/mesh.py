"""Where arrays live: one mesh axis, `data`, over all devices of all processes."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dsconv.errors import InputError


def make_mesh(devices=None) -> Mesh:
    """A mesh with the axis `data` over `devices` (all by default)."""
    devices = jax.devices() if devices is None else devices
    return jax.make_mesh((len(devices),), ('data',), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """On every device the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, leading_axes: int = 0) -> NamedSharding:
    """The batch axis, which follows `leading_axes` others, split over the devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * leading_axes, 'data'))


def to_global(mesh: Mesh, arrays, leading_axes: int = 0):
    """Host-local NumPy arrays of each process, a pytree → global arrays sharded along the batch axis."""
    sharding = batch_sharding(mesh, leading_axes)
    return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, np.asarray(array)), arrays)


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raises InputError unless each device gets an equal share of a training batch."""
    if batch_size % mesh.size:
        lower = batch_size // mesh.size * mesh.size
        raise InputError(
            f'batch_size={batch_size} does not divide over {mesh.size} devices; '
            f'take {lower or mesh.size} or {lower + mesh.size}'
        )
