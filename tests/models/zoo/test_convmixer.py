"""ConvMixer: the count of the paper's small network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsconv.errors import InputError
from dsconv.models import build_model
from dsconv.models.zoo.convmixer import ConvMixer
from tests.models.networks import check_forward_and_gradient, drawn_variables, output_in_bfloat16, parameters

TINY = ConvMixer(3, patch=2, width=4, layers=1, kernel=3)


def test_parameters_of_256_8():
    # Stem 2²·3·256, of each layer 5²·256 + 256², a bias and scale and shift behind each convolution; head.
    expected = 12 * 256 + 3 * 256 + 8 * (25 * 256 + 256**2 + 2 * 3 * 256) + 2570
    assert expected == 594_186
    assert parameters(build_model({'name': 'convmixer_256_8', 'dtype': 'float32'}, 10), (32, 32, 3)) == expected


def test_forward_and_gradient():
    check_forward_and_gradient(TINY, (6, 6, 3))


def test_bfloat16_ends_in_float32():
    assert output_in_bfloat16(TINY, (6, 6, 3)) == ((2, 3), jnp.float32, {jnp.dtype('float32')})


def test_the_residual_is_around_the_depthwise_convolution_alone():
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    variables, apply = drawn_variables(TINY, (4, 4, 3)), jax.jit(TINY.apply)

    def logits_with_zeros_in(*layers):
        zeroed = {name: jax.tree.map(jnp.zeros_like, variables['params'][name]) for name in layers}
        return apply(variables | {'params': variables['params'] | zeroed}, images)

    assert not np.allclose(logits_with_zeros_in('depthwise_0')[0], logits_with_zeros_in('depthwise_0')[1])
    through_pointwise = logits_with_zeros_in('pointwise_0')
    np.testing.assert_allclose(through_pointwise[0], through_pointwise[1], atol=1e-6)


def test_images_that_do_not_divide_into_patches_are_refused():
    with pytest.raises(InputError, match='a dataset.image_size that is a multiple of 2'):
        jax.eval_shape(TINY.init, jax.random.key(0), jnp.zeros((1, 7, 8, 3)))
