"""`build_model`: a config's `model` part → a network."""

import re

import jax.numpy as jnp
import pytest

from configs import common
from dsconv import config as configuration
from dsconv.config_checks import choices
from dsconv.models import MODELS, DSConv, FastDSConv, build_model, has_batch_norm, options_of

# Each differs from the default of the network and of configs/common.py.
OPTIONS = dict(
    patch_size=4, stem_kernel_size=3, dim=16, depth=1, kernel_size=3, reduction=(4, 8), residual_depthwise=False,
    residual_block=False, activation='silu', norm='layer', norm_groups=2,
)  # fmt: skip


@pytest.fixture
def settings():
    return common.get_config().model


def test_every_option_arrives_and_fast_has_more_than_plain(settings):
    options = dict(OPTIONS, fold=2, shards=4, remat=True, depthwise_form='lax')
    fast, plain = (
        build_model(options | {'name': 'dsconv', 'dtype': 'bfloat16', 'implementation': implementation}, 7)
        for implementation in ('fast', 'plain')
    )
    assert fast == FastDSConv(7, **options, dtype=jnp.dtype('bfloat16'))
    assert plain == DSConv(7, **OPTIONS, dtype=jnp.dtype('bfloat16'))
    assert options_of(settings) == set(settings)
    assert set(settings) - options_of(dict(settings, implementation='plain')) == {'fold', 'depthwise_form', 'remat'}
    assert options_of(dict(settings, name='resnet20')) == {'name', 'dtype', 'norm_groups'}
    assert {name for name in MODELS if has_batch_norm(dict(settings, name=name))} == {
        'dsconv', 'convmixer_256_8', 'densenet_40_12', 'mobilenetv2_050', 'resnet8', 'resnet20', 'resnet50', 'resnet56',
        'vgg16_cifar',
    }  # fmt: skip


def test_the_default_config_is_the_small_network(settings):
    assert build_model(settings, 10) == DSConv(num_classes=10)


@pytest.mark.parametrize(
    'key', ['model.implementation', 'model.activation', 'model.norm', 'optimizer.name', 'schedule.name', 'loss.name']
)
def test_the_comment_of_a_key_names_its_choices(key):
    text = (configuration.ROOT / 'configs' / 'common.py').read_text()
    comment = text.partition(f'config.{key} = ')[2].partition('\n')[0]
    assert set(choices(key)) <= set(re.findall(r'\w+', comment.partition('#')[2]))
