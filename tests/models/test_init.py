"""`build_model`: a config's `model` part → a network."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import dsconv.models
from configs import common
from dsconv.config_checks import CHOICES
from dsconv.models import MODELS, DSConv, FastDSConv, build_model, options_of

# Each differs from the default of the network and of configs/common.py.
OPTIONS = dict(
    patch_size=4,
    stem_kernel_size=3,
    dim=16,
    depth=1,
    kernel_size=3,
    reduction=(4, 8),
    residual_depthwise=False,
    residual_block=False,
    activation='silu',
    norm='layer',
    norm_groups=2,
)


class Other(nn.Module):
    """A network with an option that DSConv has not."""

    num_classes: int
    width: int = 1
    dtype: jnp.dtype = jnp.float32


@pytest.fixture
def settings():
    return common.get_config().model


def test_every_option_arrives():
    network = build_model(dict(OPTIONS, name='dsconv', dtype='bfloat16'), 7)
    assert isinstance(network, DSConv)
    assert network.num_classes == 7
    assert network.dtype == jnp.bfloat16
    assert {key: getattr(network, key) for key in OPTIONS} == OPTIONS


def test_fast_has_options_that_plain_has_not(settings):
    options = dict(OPTIONS, name='dsconv', dtype='float32', fold=2, shards=4, remat=True, depthwise_form='lax')
    network = build_model(options | {'implementation': 'fast'}, 7)
    assert isinstance(network, FastDSConv)
    assert {key: getattr(network, key) for key in options if key not in ('name', 'dtype')} == {
        key: value for key, value in options.items() if key not in ('name', 'dtype')
    }
    assert type(build_model(options | {'implementation': 'plain'}, 7)) is DSConv
    of_fast = {'fold', 'depthwise_form', 'remat'}
    assert options_of(dict(settings, implementation='fast')) == options_of(settings) == set(settings)
    assert options_of(dict(settings, implementation='plain')) == set(settings) - of_fast
    assert options_of(dict(settings, name='resnet20')) == {'name', 'dtype', 'norm_groups'}


def test_the_default_config_is_the_small_network(settings):
    network = build_model(settings, 10)
    assert network == DSConv(num_classes=10)
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))))
    # The name in the config is not a scope of the parameters: checkpoints do not depend on it.
    assert {'stem', 'block_0', 'head'} <= set(variables['params'])


def test_every_key_of_the_config_belongs_to_a_network(settings):
    assert set(settings) == set().union(*(options_of(dict(settings, name=name)) for name in MODELS))


def test_options_of_other_networks_are_ignored(settings, monkeypatch):
    monkeypatch.setitem(dsconv.models.MODELS, 'other', Other)
    both = dict(settings, width=5)
    assert build_model(both, 10) == build_model(settings, 10)
    other = build_model(both | {'name': 'other'}, 4)
    assert isinstance(other, Other)
    assert (other.num_classes, other.width) == (4, 5)


def test_options_left_out_keep_the_network_default():
    assert build_model({'name': 'dsconv', 'dtype': 'float32', 'depth': 3}, 10) == DSConv(10, depth=3)


def test_an_unknown_name_is_a_key_error(settings):
    with pytest.raises(KeyError, match='dsconf'):
        build_model(dict(settings, name='dsconf'), 10)


@pytest.mark.parametrize('dtype', CHOICES['model.dtype'])
def test_allowed_dtypes_are_floating_point(settings, dtype):
    network = build_model(dict(settings, dtype=dtype), 10)
    assert jnp.issubdtype(network.dtype, jnp.floating)
    assert network.dtype.name == dtype


@pytest.mark.parametrize('name', sorted(set(MODELS) - {'dsconv'}))
def test_a_network_of_another_name_is_its_published_self_whatever_is_set_for_dsconv(settings, name):
    fast = dict(implementation='fast', fold=2, shards=2, remat=True, depthwise_form='lax')
    changed = dict(OPTIONS, **fast, name=name, dtype='bfloat16')
    assert set(settings) <= set(changed)
    network = build_model(changed, 7)
    assert network.dtype == jnp.bfloat16
    assert network.num_classes == 7
    if hasattr(network, 'norm_groups'):
        assert network.norm_groups == 2
    published = build_model({'name': name, 'dtype': 'float32'}, 7)
    arrived = {'dtype': jnp.dtype('bfloat16')} | ({'norm_groups': 2} if hasattr(network, 'norm_groups') else {})
    assert network == published.clone(**arrived)


def test_what_a_name_fixes_wins_over_the_config(monkeypatch):
    monkeypatch.setitem(dsconv.models.MODELS, 'shallow', functools.partial(DSConv, depth=1))
    network = build_model({'name': 'shallow', 'dtype': 'float32', 'depth': 8, 'dim': 16}, 10)
    assert network == DSConv(10, depth=1, dim=16)


@pytest.mark.parametrize('name', sorted(MODELS))
def test_batch_norm_needs_no_random_numbers(settings, name):
    """Its recalibration gives none: no network has both batch norm and dropout."""
    network, side = build_model(dict(settings, name=name), 10), 67 if name == 'alexnet' else 32
    images = jnp.zeros((2, side, side, 3))
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    if 'batch_stats' in variables:
        jax.eval_shape(lambda v: network.apply(v, images, train=True, mutable='batch_stats'), variables)
