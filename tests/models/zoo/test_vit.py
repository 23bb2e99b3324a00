"""Vision transformers: the published count, attention and tokens against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsconv.errors import InputError
from dsconv.models import build_model
from dsconv.models.zoo.vit import AttentionProduct, ClassTokenAndPositions, ViT
from tests.models.networks import check_forward_and_gradient, drawn_variables, output_in_bfloat16, parameters

TINY = ViT(3, patch=2, width=8, layers=1, heads=2)


def test_parameters_of_the_base_are_the_published_ones():
    # Dosovitskiy et al., table 1: 86 M.
    assert parameters(build_model({'name': 'vit_base', 'dtype': 'float32'}, 1000), (224, 224, 3)) == 86_567_656


def test_parameters_of_the_tiny():
    width, block = 192, 12 * 192**2 + 13 * 192  # three, one, four and four squares; biases 3 + 1 + 4 + 1, norms 2 · 2
    stem, tokens = 4 * 4 * 3 * width + width, (1 + 1 + 64) * width
    expected = stem + tokens + 12 * block + 2 * width + 10 * width + 10
    assert parameters(build_model({'name': 'vit_tiny', 'dtype': 'float32'}, 10), (32, 32, 3)) == expected


def test_forward_and_gradient():
    check_forward_and_gradient(TINY, (4, 4, 3))


def test_bfloat16_ends_in_float32():
    assert output_in_bfloat16(TINY, (4, 4, 3)) == ((2, 3), jnp.float32, {jnp.dtype('float32')})


def test_attention_is_the_softmax_of_scaled_products():
    queries, keys, values = np.random.default_rng(0).normal(size=(3, 2, 5, 3, 4)).astype(np.float32)
    expected = np.empty_like(values)
    for image in range(2):
        for head in range(3):
            weights = np.exp(queries[image, :, head] @ keys[image, :, head].T / np.sqrt(4))
            expected[image, :, head] = weights / weights.sum(1, keepdims=True) @ values[image, :, head]
    np.testing.assert_allclose(AttentionProduct().apply({}, queries, keys, values), expected, rtol=1e-4, atol=1e-5)


def test_tokens_are_the_learned_one_then_the_places_row_by_row():
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 4)).astype(np.float32)
    token, positions = np.full((1, 1, 4), 7, np.float32), np.arange(28, dtype=np.float32).reshape(1, 7, 4)
    y = ClassTokenAndPositions().apply({'params': {'token': token, 'positions': positions}}, x)
    assert np.array_equal(y[:, 0], np.broadcast_to(7 + positions[0, 0], (2, 4)))
    np.testing.assert_allclose(y[:, 1 + 3 * 1 + 2], x[:, 1, 2] + positions[0, 6], rtol=1e-6)


def test_without_dropout_training_is_evaluation():
    network, images = TINY.clone(dropout=0.0), np.ones((2, 4, 4, 3), np.float32)
    variables = drawn_variables(network, (4, 4, 3))
    apply = jax.jit(network.apply, static_argnames='train')
    assert np.array_equal(apply(variables, images, train=True), apply(variables, images, train=False))


def test_images_that_do_not_divide_into_patches_are_refused():
    with pytest.raises(InputError, match='images of 8×9 do not divide into the 4×4 patches of this network'):
        jax.eval_shape(TINY.clone(patch=4).init, jax.random.key(0), jnp.zeros((1, 8, 9, 3)))
