import dataclasses

import jax
import numpy as np
import pytest

from dsconv.errors import InputError
from dsconv.training.mesh import check_batch_size, make_mesh, to_global

Device = dataclasses.make_dataclass('Device', ('process_index', 'id'), frozen=True)


def test_the_devices_of_a_process_are_consecutive_whatever_their_place_in_the_slice():
    expected = [Device(process, process + 4 * number) for process in range(4) for number in range(2)]
    of_a_torus = [expected[place] for place in (0, 2, 4, 6, 1, 3, 5, 7)]
    assert make_mesh(of_a_torus).devices.tolist() == expected


def test_a_batch_that_does_not_divide_is_refused_with_the_nearest_that_do():
    for size, nearest in ((4, '8 or 16'), (20, '16 or 24')):
        with pytest.raises(InputError, match=f'batch_size={size} is not a multiple of the 8 devices; use {nearest}'):
            check_batch_size(size, make_mesh([Device(0, number) for number in range(8)]))


def test_rows_are_on_the_devices_in_order():
    rows = np.arange(8)
    shards = to_global(make_mesh(jax.devices()[::-1]), rows).addressable_shards
    assert {shard.device.id: shard.data.item() for shard in shards} == dict(enumerate(rows))
