"""The network against a NumPy forward pass written from the thesis."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from dsconv.models.dsconv import DSConv
from tests.models.networks import ACTIVATION_FORMULAS, convolve, drawn_variables

TINY = dict(num_classes=5, patch_size=2, dim=8, depth=2, kernel_size=3)
SIZE = (4, 6, 8, 3)


class Reference:
    """The forward pass in float64 by NumPy, for the options of `network`."""

    def __init__(self, network, variables, train):
        self.network, self.train, self.leaves = network, train, flatten_dict(variables, sep='/')

    def norm(self, x, unit):
        if self.network.norm == 'none':
            return x
        if self.network.norm == 'layer':
            mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        elif self.train:
            parts = np.split(x, self.network.norm_groups)
            mean, var = (
                np.concatenate([np.broadcast_to(f(p, (0, 1, 2)), p.shape) for p in parts]) for f in (np.mean, np.var)
            )
        else:
            mean, var = (self.leaves[f'batch_stats/{unit}/batch_norm/{name}'] for name in ('mean', 'var'))
        scale, shift = (self.leaves[f'params/{unit}/{self.network.norm}_norm/{name}'] for name in ('scale', 'bias'))
        return (x - mean) / np.sqrt(var + 1e-3) * scale + shift

    def layer(self, x, path, **options):
        """Convolution, activation, norm."""
        kernel, bias = (self.leaves[f'params/{path}/{name}'] for name in ('kernel', 'bias'))
        kernel = kernel[None, None] if kernel.ndim == 2 else kernel
        x = convolve(x, kernel.astype(np.float64), **options) + bias
        return self.norm(ACTIVATION_FORMULAS[self.network.activation](x), f'{path}_unit')

    def block(self, x, path):
        reduced = self.layer(self.layer(x, f'{path}/reduce_1'), f'{path}/reduce_2')
        mixed = self.layer(reduced, f'{path}/depthwise', depthwise=True)
        if self.network.residual_depthwise:
            mixed = mixed + reduced
        y = self.layer(mixed, f'{path}/expand')
        return x + y if self.network.residual_block else y

    def __call__(self, images):
        x = self.layer(images.astype(np.float64), 'stem', stride=self.network.patch_size)
        for index in range(self.network.depth):
            x = self.block(x, f'block_{index}')
        return x.mean((1, 2)) @ self.leaves['params/head/kernel'] + self.leaves['params/head/bias']


@pytest.mark.parametrize(
    ('options', 'size', 'train'),
    [
        (dict(residual_depthwise=False, activation='leaky_relu', norm='none'), SIZE, False),
        (dict(residual_block=False, reduction=(1, 8)), SIZE, False),
        (dict(patch_size=4, kernel_size=5, num_classes=26, activation='silu', norm='layer'), (2, 12, 4, 1), False),
        (dict(depth=0, patch_size=1, stem_kernel_size=2), SIZE, False),
        (dict(norm_groups=2), (4, 8, 8, 3), True),  # normalised by the batch
    ],
    ids=str,
)
def test_forward_equals_numpy(options, size, train):
    network = DSConv(**TINY | options)
    variables = drawn_variables(network, size[1:])
    images = np.random.default_rng(1).normal(size=size).astype(np.float32)
    apply = functools.partial(network.apply, train=train, mutable=['batch_stats'])
    logits, _ = jax.jit(apply)(variables, images)
    assert logits.shape == (size[0], network.num_classes)
    assert logits.dtype == jnp.float32
    expected = Reference(network, variables, train)(images)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=2e-4 * np.abs(expected).max())


def test_kernels_are_glorot_uniform():
    network = DSConv(num_classes=26, patch_size=4, dim=64, depth=1, kernel_size=7)
    initial = jax.jit(network.init)(jax.random.key(0), np.zeros((1, 4, 4, 3), np.float32))['params']
    leaves = jax.tree_util.tree_leaves_with_path(initial)
    kernels = {path[-2].key: np.asarray(leaf) for path, leaf in leaves if path[-1].key == 'kernel'}
    # By hand, after Glorot & Bengio 2010: Keras counts the depthwise kernel as (k, k, channels, 1), the same sum.
    fans = {
        'stem': (48, 16 * 64), 'reduce_1': (64, 32), 'reduce_2': (32, 16), 'depthwise': (49 * 16, 49),
        'expand': (16, 64), 'head': (64, 26),
    }  # fmt: skip
    assert kernels.keys() == fans.keys()
    for path, leaf in leaves:
        if path[-1].key != 'kernel':
            assert np.all(leaf == {'bias': 0, 'scale': 1}[path[-1].key]), path
    for name, kernel in kernels.items():
        bound = math.sqrt(6 / sum(fans[name]))
        largest = np.abs(kernel).max()
        # Of n uniform draws the largest is below 0.97 with chance 0.97ⁿ: n ≥ 512.
        assert 0.97 * bound < largest <= bound * (1 + 1e-6), name
        assert kernel.std() == pytest.approx(bound / math.sqrt(3), rel=0.1), name
        assert abs(kernel.mean()) < 0.2 * bound, name
