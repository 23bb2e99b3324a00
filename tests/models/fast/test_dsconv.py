"""The fast network against the plain one: logits, gradients and batch statistics from the same parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dsconv.models.dsconv import DSConv
from dsconv.models.fast.dsconv import FastDSConv
from tests.models.networks import drawn_variables

TINY = dict(num_classes=5, patch_size=2, dim=8, depth=1, kernel_size=3, norm_groups=2)
CASES = [
    dict(activation='gelu_exact', norm='layer'),
    dict(activation='leaky_relu', norm='none', depthwise_form='lax', reduction=(1, 8)),  # one channel in that layer
    dict(patch_size=1, stem_kernel_size=2, kernel_size=5, fold=4, shards=4, remat=True),
    dict(activation='relu', remat=True),
    dict(activation='elu', depthwise_form='shift'),
    dict(activation='silu', fold=2, shards=2),
]


def images():
    return np.random.default_rng(1).normal(size=(8, 8, 6, 3)).astype(np.float32)


def results_of(network, variables, images):
    """Logits of inference, and of training with the gradient of a loss and the statistics that come of it."""

    def loss(params):
        logits, updated = network.apply(variables | {'params': params}, images, train=True, mutable='batch_stats')
        return jnp.sum(jnp.sin(logits)), (logits, updated)

    return network.apply(variables, images), jax.grad(loss, has_aux=True)(variables['params'])


def check_same(results, references):
    leaves = jax.tree_util.tree_leaves_with_path(results)
    for (path, value), reference in zip(leaves, jax.tree.leaves(references), strict=True):
        scale = max(1, np.abs(reference).max())
        np.testing.assert_allclose(value, reference, rtol=5e-4, atol=5e-5 * scale, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize('options', CASES, ids=str)
def test_fast_is_plain(options):
    of_plain = {key: value for key, value in options.items() if key in DSConv.__dataclass_fields__}
    plain, fast = DSConv(**TINY | of_plain), FastDSConv(**TINY | options)
    variables = drawn_variables(plain, (8, 6, 3))
    assert jax.tree.map(jnp.shape, drawn_variables(fast, (8, 6, 3))) == jax.tree.map(jnp.shape, variables)
    both = jax.jit(lambda variables, images: [results_of(one, variables, images) for one in (fast, plain)])
    check_same(*both(variables, images()))


@pytest.mark.parametrize(
    ('network', 'train'),
    [(DSConv(**TINY, dtype=jnp.bfloat16), False), (FastDSConv(**TINY, fold=2, shards=2, dtype=jnp.bfloat16), True)],
    ids=['plain', 'fast'],
)
def test_bfloat16_is_the_dtype_of_everything_but_pool_and_head(network, train):
    options = dict(train=train, capture_intermediates=True, mutable=['intermediates', 'batch_stats'])
    apply, variables = functools.partial(network.apply, **options), drawn_variables(network, (8, 6, 3))
    _, changed = jax.eval_shape(apply, variables, images())
    outputs = jax.tree_util.tree_leaves_with_path(changed['intermediates'])
    assert {path[0].key for path, output in outputs if output.dtype == jnp.float32} == {'pool', 'head', '__call__'}
    assert {leaf.dtype for leaf in jax.tree.leaves(changed['batch_stats'])} == {jnp.dtype('float32')}


@pytest.mark.parametrize('stem', [dict(fold=2), dict(patch_size=1, stem_kernel_size=2, remat=True)], ids=str)
def test_fast_on_eight_devices_is_plain_on_one_and_no_image_leaves_its_own(stem):
    fast = FastDSConv(**TINY | dict(norm_groups=8, shards=8) | stem)
    plain = DSConv(**{key: getattr(fast, key) for key in DSConv.__dataclass_fields__ if key not in ('parent', 'name')})
    variables = drawn_variables(plain, (8, 6, 3))
    mesh = Mesh(np.array(jax.devices()[:8]), ('data',))
    whole, by_image = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ('data',)))
    sharded = jax.jit(
        functools.partial(results_of, fast),
        in_shardings=(whole, by_image),
        out_shardings=(by_image, (whole, (by_image, whole))),
    )
    compiled = sharded.lower(variables, images()).compile()
    moves = ('all-gather(', 'all-to-all(', 'collective-permute(')
    assert [name for name in moves if name in compiled.as_text()] == []
    check_same(sharded(variables, images()), jax.jit(functools.partial(results_of, plain))(variables, images()))


def test_images_are_folded_blocks_computed_again_and_depthwise_forms_taken_as_asked_for():
    def traced(**options):
        network, x = FastDSConv(**TINY | options), images()
        variables = drawn_variables(network, x.shape[1:])
        return jax.jit(lambda params: results_of(network, variables | {'params': params}, x)[1]).trace(
            variables['params']
        )

    for options, marks in (({}, (False, False)), (dict(remat=True, fold=2, shards=2), (True, True))):
        jaxpr = str(traced(**options).jaxpr)
        assert ('remat' in jaxpr or 'checkpoint' in jaxpr, 'f32[16,2,3,8]' in jaxpr) == marks  # halves of 4×3 places
    few, more = (traced(depthwise_form=form).lower().as_text().count('convolution(') for form in ('shift', 'lax'))
    assert more > few
