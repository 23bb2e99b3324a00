import jax
import numpy as np
import pytest

from dsconv.errors import InputError
from dsconv.training.mesh import check_batch_size, make_mesh, to_global


def test_the_batch_axis_is_split_in_order():
    mesh = make_mesh(jax.devices())
    batch = np.arange(48).reshape(2, 8, 3)
    array = to_global(mesh, batch, leading_axes=1)
    np.testing.assert_array_equal(array, batch)
    parts = [shard.data for shard in sorted(array.addressable_shards, key=lambda shard: shard.index[1].start or 0)]
    assert {part.shape for part in parts} == {(2, 1, 3)}
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), batch)


def test_a_batch_that_does_not_divide_is_refused_with_the_nearest_that_do():
    check_batch_size(16, make_mesh())
    with pytest.raises(InputError, match='batch_size=20 does not divide over 8 devices; take 16 or 24'):
        check_batch_size(20, make_mesh())
