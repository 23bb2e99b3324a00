"""Vision Transformer: Dosovitskiy et al. 2020, "An Image is Worth 16×16 Words" (arXiv:2010.11929)."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from dsconv.models.layers import check_patches, glorot_uniform
from dsconv.models.zoo.blocks import Conv


class AttentionProduct(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017, equation 1), a module so that its arithmetic is counted.

    Queries, keys and values, `(batch, tokens, heads, features)` each → the same shape.
    """

    @nn.compact
    def __call__(self, queries, keys, values):
        return jax.nn.dot_product_attention(queries, keys, values)


class ClassTokenAndPositions(nn.Module):
    """Prepends a learned class token and adds a learned position vector to each token (equation 1).

    `(batch, height, width, features)` → `(batch, 1 + height · width, features)`.
    """

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        token = self.param('token', nn.initializers.zeros, (1, 1, x.shape[-1])).astype(self.dtype)
        x = jnp.concatenate([jnp.broadcast_to(token, (x.shape[0], *token.shape[1:])), x], axis=1)
        return x + self.param('positions', nn.initializers.normal(0.02), (1, *x.shape[1:])).astype(self.dtype)


class EncoderBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)) (equations 2 and 3); `(batch, tokens, width)` → the same shape."""

    heads: int
    dropout: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x, train: bool):
        batch, tokens, width = x.shape
        dense = functools.partial(nn.Dense, kernel_init=glorot_uniform, dtype=self.dtype)
        drop = nn.Dropout(self.dropout, deterministic=not train)
        y = dense(3 * width, name='queries_keys_values')(nn.LayerNorm(dtype=self.dtype, name='norm_1')(x))
        queries, keys, values = jnp.moveaxis(y.reshape(batch, tokens, 3, self.heads, -1), 2, 0)
        y = AttentionProduct(name='product')(queries, keys, values).reshape(x.shape)
        x += drop(dense(width, name='attended')(y))
        y = dense(4 * width, name='mlp_1')(nn.LayerNorm(dtype=self.dtype, name='norm_2')(x))
        return x + drop(dense(width, name='mlp_2')(drop(nn.gelu(y, approximate=False))))


class ViT(nn.Module):
    """The classifier: `(batch, height, width, channels)` normalised images → `(batch, num_classes)` float32 logits.

    Attributes:
      patch: pixels per side of a patch; divides height and width.
      width: features of a token, a multiple of `heads`, the number of attention heads.
      layers: number of encoder blocks.
      dropout: rate after adding positions and after each dense layer of a block except queries, keys, values (B.1).
    """

    num_classes: int
    patch: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    dropout: float = 0.1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, images, train: bool = False):
        check_patches(images, self.patch)
        size, options = (self.patch, self.patch), dict(use_bias=True, kernel_init=glorot_uniform, dtype=self.dtype)
        x = Conv(self.width, size, size, **options, name='stem')(images)
        x = ClassTokenAndPositions(self.dtype, name='tokens')(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        for index in range(self.layers):
            x = EncoderBlock(self.heads, self.dropout, self.dtype, name=f'block_{index}')(x, train)
        x = nn.LayerNorm(name='norm')(x)
        return nn.Dense(self.num_classes, kernel_init=glorot_uniform, name='head')(x[:, 0])


NETWORKS = {
    'vit_base': ViT,
    # The width of Touvron et al. (arXiv:2012.12877).
    'vit_tiny': functools.partial(ViT, patch=4, width=192, heads=3, dropout=0.0),
}
