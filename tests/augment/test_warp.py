"""Affine maps against Pillow's, of an image whose pixels are their own numbers."""

import jax
import numpy as np
import pytest
from PIL import Image

from dsconv.augment import warp


@pytest.mark.parametrize('size', [(32, 32), (7, 5)], ids=str)
def test_any_affine_map_is_pillows(size):
    height, width = size
    numbered = Image.fromarray(np.arange(height * width, dtype=np.int32).reshape(size))
    affine_source = jax.jit(warp.affine_source, static_argnums=(1, 2))
    generator, inside = np.random.default_rng(0), 0
    for _ in range(100):
        a, b, d, e = np.eye(2).reshape(-1) + generator.normal(0, 0.5, 4)
        c, f = generator.normal(0, 0.3, 2) * (width, height)
        affine = a, b, c, d, e, f
        source = np.asarray(affine_source(warp.fixed_point(affine), *size))
        assert source.dtype == np.int32
        moved = numbered.transform((width, height), Image.Transform.AFFINE, affine, fillcolor=-1)
        assert np.array_equal(source, np.asarray(moved).reshape(-1))
        inside += np.mean(source >= 0)
    assert 20 < inside < 80  # of what is compared neither all nor nothing is filling
