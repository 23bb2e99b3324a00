import jax.numpy as jnp
import numpy as np

from dsconv.models.layers import GlobalAveragePool


def test_pooling_averages_in_float32():
    # 257 does not exist in bfloat16, nor does the sum of 17² ones.
    x = jnp.ones((2, 17, 17, 3), jnp.bfloat16).at[1].set(3)
    pooled = GlobalAveragePool().apply({}, x)
    assert pooled.dtype == jnp.float32
    assert np.array_equal(pooled, [[1, 1, 1], [3, 3, 3]])
