"""Activations against their formulas, and pooling."""

import jax.numpy as jnp
import numpy as np
import pytest

from dsconv.models.layers import ACTIVATIONS, GlobalAveragePool
from tests.models.networks import ACTIVATION_FORMULAS


@pytest.mark.parametrize('name', ACTIVATIONS)
def test_activations_equal_their_formulas(name):
    x = np.linspace(-6, 6, 241, dtype=np.float32)
    expected = ACTIVATION_FORMULAS[name](x.astype(np.float64))
    np.testing.assert_allclose(ACTIVATIONS[name](x), expected, rtol=1e-5, atol=2e-6)


def test_pooling_averages_in_float32():
    # 257 does not exist in bfloat16, nor does the sum of 17² ones.
    x = jnp.ones((2, 17, 17, 3), jnp.bfloat16).at[1].set(3)
    pooled = GlobalAveragePool().apply({}, x)
    assert pooled.dtype == jnp.float32
    assert np.array_equal(pooled, [[1, 1, 1], [3, 3, 3]])
