"""`build_model`: a config's `model` part → a network."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import dsconv.models
from configs import common
from dsconv.config_checks import CHOICES
from dsconv.models import MODELS, DSConv, build_model
from dsconv.models.layers import ACTIVATIONS, NORMS

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


def test_the_default_config_is_the_small_network(settings):
    network = build_model(settings, 10)
    assert network == DSConv(num_classes=10)
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3))))
    # The name in the config is not a scope of the parameters: checkpoints do not depend on it.
    assert {'stem', 'block_0', 'head'} <= set(variables['params'])


def test_every_key_of_the_config_belongs_to_a_network(settings):
    fields = set().union(*(network.__dataclass_fields__ for network in MODELS.values()))
    assert set(settings) <= fields


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


@pytest.mark.parametrize(
    ('key', 'known'), [('model.name', MODELS), ('model.activation', ACTIVATIONS), ('model.norm', NORMS)]
)
def test_the_config_check_allows_what_exists(key, known):
    assert sorted(CHOICES[key]) == sorted(known)


@pytest.mark.parametrize('dtype', CHOICES['model.dtype'])
def test_allowed_dtypes_are_floating_point(settings, dtype):
    network = build_model(dict(settings, dtype=dtype), 10)
    assert jnp.issubdtype(network.dtype, jnp.floating)
    assert network.dtype.name == dtype
