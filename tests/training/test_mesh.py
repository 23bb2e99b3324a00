import dataclasses

import jax
import numpy as np

from dsconv.training.mesh import make_mesh, to_global

Device = dataclasses.make_dataclass('Device', ('process_index', 'id'), frozen=True)


def test_the_devices_of_a_process_are_consecutive_whatever_their_place_in_the_slice():
    expected = [Device(process, process + 4 * number) for process in range(4) for number in range(2)]
    of_a_torus = [expected[place] for place in (0, 2, 4, 6, 1, 3, 5, 7)]
    assert make_mesh(of_a_torus).devices.tolist() == expected


def test_rows_are_on_the_devices_in_order():
    rows = np.arange(8)
    shards = to_global(make_mesh(jax.devices()[::-1]), rows).addressable_shards
    assert {shard.device.id: shard.data.item() for shard in shards} == dict(enumerate(rows))
