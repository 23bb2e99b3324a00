"""A run that starts from a trained network: what it takes over, what is new, and what does not fit."""

import shutil

import jax
import numpy as np
import pytest

from dsconv import config as configuration
from dsconv.errors import InputError
from dsconv.training.network import restore_network
from dsconv.training.setup import build_training
from dsconv.training.transfer import initial_state, warn_of_seen_images
from tests.conftest import tiny_config


def like_the_digits(class_names='0123456789', **overrides):
    """The config of a run on images like the digits."""
    config = tiny_config(augment__flip='none', **overrides)
    config.dataset.update(image_size=8, channels=1, class_names=tuple(class_names))
    return config


def state_of(run, class_names='0123456789', **overrides):
    """The state before the first step of a run on images like the digits that starts from `run`."""
    config = like_the_digits(class_names, init_from=run, **overrides)
    return initial_state(config, build_training(config, num_examples=64))


@pytest.mark.parametrize(('class_names', 'new'), [('0123456789', ()), ('abc', ('head',)), ('abcdefghij', ('head',))])
def test_the_whole_network_is_taken_but_for_the_head_of_other_classes(finished_run, class_names, new):
    old = restore_network(finished_run, configuration.load_run(finished_run))[1]
    old = jax.tree_util.tree_map_with_path(lambda path, leaf: 0 * leaf if path[-1].key == 'count' else leaf, old)
    state = state_of(finished_run, class_names)
    for collection in old:
        parts = [{k: v for k, v in each[collection].items() if k not in new} for each in (state.variables, old)]
        jax.tree.map(np.testing.assert_array_equal, *parts)
    head, old_head = (each['params']['head']['kernel'] for each in (state.variables, old))
    assert head.shape == (8, len(class_names)) and np.array_equal(head, old_head) == (not new)
    assert int(state.step) == 0


def test_shapes_that_do_not_fit_are_named(finished_run):
    with pytest.raises(InputError, match=r'params/stem/kernel 1,1,1,8 there, 4,4,1,8 here; set model'):
        state_of(finished_run, model__patch_size=4)
    with pytest.raises(InputError, match=r'block_1/.* none there, .* here'):
        state_of(finished_run, model__depth=2)


def test_a_network_that_is_gone_is_named_with_its_key(tmp_path):
    with pytest.raises(InputError, match='^init_from=.*gone: .*gone is not a directory'):
        state_of(tmp_path / 'gone', dataset__channels=1, dataset__mean=0.5, dataset__std=0.5)


def test_an_activation_of_another_kind_is_told(finished_run, caplog):
    state_of(finished_run)
    assert 'was trained with' not in caplog.text
    state_of(finished_run, model__activation='relu')
    assert 'was trained with model.activation=gelu, here it is relu' in caplog.text
    state_of(finished_run, model__patch_size=2, model__stem_kernel_size=1)
    assert 'was trained with model.patch_size=1, here it is 2' in caplog.text


def test_a_network_that_may_have_seen_what_is_held_out_is_told(finished_run, caplog):
    trained = configuration.load_run(finished_run).dataset.train_fingerprint
    for key in ('init_from', 'loss__teachers'):
        config = like_the_digits(**{key: finished_run}, dataset__train_fingerprint=trained)
        warn_of_seen_images(config, holds_out=True)
        config.dataset.train_fingerprint = 'f00'
        warn_of_seen_images(config, holds_out=False)
        config.dataset.class_names = tuple('abcdefghij')
        warn_of_seen_images(config, holds_out=True)
        assert 'may have been trained on' not in caplog.text
        config.dataset.class_names = tuple('0123456789')
        warn_of_seen_images(config, holds_out=True)
        assert f'{finished_run} may have been trained on images that this run holds out' in caplog.text
        caplog.clear()


def test_a_published_network_is_found_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match='init_from=pretrained/small: .*/mean 32 there, 2 here'):
        state_of('pretrained/small')


def test_images_are_as_the_trained_network_expects_them_also_once_it_is_gone(finished_run, tmp_path):
    old = tmp_path / 'old'
    shutil.copytree(finished_run, old)
    config = tiny_config(init_from=old)
    trained = configuration.load_run(old).dataset
    assert (config.dataset.mean, config.dataset.std) == (trained.mean, trained.std)
    assert tiny_config(init_from=old, dataset__mean='0.25').dataset.mean == (0.25,)
    old.rename(tmp_path / 'workdir')
    with pytest.raises(InputError, match='init_from=.*old is not a directory: give the workdir of a run'):
        tiny_config(init_from=old)
    resumed = configuration.load('configs/digits.py', [f'init_from={old}'], tmp_path / 'workdir')
    assert resumed.dataset.mean == trained.mean
