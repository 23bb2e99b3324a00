import jax
import jax.numpy as jnp

from dsconv.augment.lookup import MOST_ONE_HOT_PIXELS, ONE_HOT


def test_large_images_are_not_multiplied():
    for pixels in (MOST_ONE_HOT_PIXELS, MOST_ONE_HOT_PIXELS + 1):
        shapes = jax.ShapeDtypeStruct((3, pixels), jnp.uint8), jax.ShapeDtypeStruct((pixels,), jnp.int32)
        jaxpr = jax.make_jaxpr(ONE_HOT.take_pixels, static_argnums=2)(*shapes, 0)
        assert ('dot_general' in str(jaxpr)) == (pixels <= MOST_ONE_HOT_PIXELS)
