"""`make_augment`: a config's `augment` part → one function of a key and a batch."""

import functools
import re
import subprocess
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from configs import common
from dsconv.augment import make_augment, pipeline
from tests.quick import quick_jit

CLASSES, EPOCHS, CLEAN_EPOCH = 5, 10, 9
# The default settings and what else can happen to an image; nothing is mixed in the last three epochs.
FULL = {'cutout_size': 3, 'erase_probability': 0.5, 'clean_tail_epochs': 3}
UNMIXED = {'mix_probability': 0.0}
OFF = UNMIXED | {'crop_padding': 0, 'flip': 'none', 'policy': 'none'}


def made(mesh=None, **changed):
    settings = dict(common.get_config().augment, flip='random') | changed
    return make_augment({'epochs': EPOCHS, 'augment': settings}, CLASSES, mesh)


@functools.cache
def compiled(**changed):
    """`make_augment` of `configs/common.py`, flip resolved, with what a test changes; jitted."""
    return jax.jit(made(**changed))


def outcome(function, seed, epoch, images, labels):
    return tuple(map(np.asarray, function(jax.random.key(seed), jnp.int32(epoch), images, labels)))


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other))


def batch(channels=3):
    """Images of more pixels than one digit of a TPU's look-ups counts, 128."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (32, 12, 14, channels), np.uint8)
    return images, generator.integers(0, CLASSES, 32, dtype=np.int32)


def test_images_stay_uint8_and_labels_become_soft():
    shape = 6, 11, 1
    images = jax.ShapeDtypeStruct((7, *shape), jnp.uint8)
    labels = jax.ShapeDtypeStruct((7,), jnp.int32)
    out, soft = jax.eval_shape(made(**FULL), jax.random.key(0), 0, images, labels)
    assert (out.shape, out.dtype) == (images.shape, jnp.uint8)
    assert (soft.shape, soft.dtype) == ((7, CLASSES), jnp.float32)


def test_everything_off_is_the_identity():
    images, labels = batch()
    out, soft = outcome(compiled(**OFF), 0, 0, images, labels)
    assert np.array_equal(out, images)
    assert soft.dtype == np.float32
    assert np.array_equal(soft, np.eye(CLASSES)[labels])


def test_mixing_is_all_that_an_epoch_changes():
    # Of ten batches about half are mixed, but none in the clean epochs, which leave the rest as it is.
    mixed = 0
    for seed in range(10):
        clean = outcome(compiled(**FULL), seed, CLEAN_EPOCH, *batch())
        early, late = (outcome(compiled(**FULL), seed, epoch, *batch()) for epoch in (0, 6))
        assert same(early, late)
        assert same(outcome(compiled(**FULL), seed, 7, *batch()), clean)
        mixed += not same(early, clean)
    assert 1 <= mixed <= 9


def test_grey_images_are_treated_alike_in_one_channel_and_in_three():
    images, labels = batch(1)
    changed = UNMIXED | {'policy': 'randaugment', 'randaugment_layers': 1, 'randaugment_magnitude': 9.0}
    augment = quick_jit(made(**changed))
    one, three = (outcome(augment, 1, 0, x, labels) for x in (images, np.repeat(images, 3, axis=-1)))
    assert np.array_equal(np.repeat(one[0], 3, axis=-1), three[0])
    assert np.mean(np.any(one[0] != images, axis=(1, 2, 3))) > 0.5


def test_key_epoch_and_place_alone_decide():
    function = compiled(**FULL)
    for epoch in (0, CLEAN_EPOCH):
        first = outcome(function, 0, epoch, *batch())
        assert same(first, outcome(function, 0, epoch, *batch()))
        assert not np.array_equal(first[0], outcome(function, 1, epoch, *batch())[0])
    images = np.repeat(batch()[0][:1], 32, axis=0)
    out, _ = outcome(function, 0, CLEAN_EPOCH, images, batch()[1])
    assert len(np.unique(out.reshape(32, -1), axis=0)) > 28


def test_without_mixing_an_image_does_not_depend_on_its_neighbours():
    images, labels = batch()
    other = np.roll(images, 1, axis=0)
    other[5] = images[5]
    first, second = (outcome(compiled(**FULL), 0, CLEAN_EPOCH, x, labels)[0] for x in (images, other))
    assert np.array_equal(first[5], second[5])
    assert not np.array_equal(first[4], second[4])


@pytest.mark.skipif(jax.device_count() == 1, reason='needs several devices')
def test_devices_do_not_change_the_outcome_and_send_no_image_to_another():
    changed, (images, labels) = FULL, batch()
    mesh = Mesh(np.array(jax.devices()), ('data',))
    sharding = NamedSharding(mesh, PartitionSpec('data'))
    assert len(images) // mesh.size % 2 == 0
    on_all = jax.jit(made(mesh, **changed), in_shardings=(None, None, sharding, sharding), out_shardings=sharding)
    on_all = on_all.lower(jax.random.key(0), jnp.int32(0), images, labels).compile()
    moved = re.findall(r'= u8\S* (all-gather|all-to-all|collective-permute|all-reduce)', on_all.as_text())
    assert not moved
    mixed = 0
    for seed in range(6):
        expected = outcome(compiled(**changed), seed, 0, images, labels)
        sharded = on_all(jax.random.key(seed), jnp.int32(0), *jax.device_put((images, labels), sharding))
        assert same(sharded, expected)
        mixed += not np.array_equal(expected[1], np.eye(CLASSES)[labels])
    assert mixed


def loops(text):
    return re.findall(r'stablehlo\.while.*', text)


@pytest.mark.parametrize('platform', ['tpu', 'default'])
def test_all_images_at_once_come_out_as_one_after_another(monkeypatch, platform):
    # What is compiled for other platforms, here run on a CPU.
    choose = types.SimpleNamespace(platform_dependent=lambda *arguments, **forms: forms[platform](*arguments))
    monkeypatch.setattr(pipeline, 'lax', choose)
    together = jax.jit(made(**FULL | UNMIXED))
    assert 'ui8' not in ' '.join(loops(together.trace(jax.random.key(0), 0, *batch()).lower().as_text()))
    for seed in range(6):
        expected = outcome(compiled(**FULL), seed, CLEAN_EPOCH, *batch())
        assert same(outcome(together, seed, CLEAN_EPOCH, *batch()), expected)


def test_augmentation_does_without_tensorflow():
    code = 'import sys, dsconv.augment; print(*{name.partition(".")[0] for name in sys.modules})'
    root = Path(__file__).parents[2]
    loaded = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, check=True)
    names = set(loaded.stdout.split())
    assert {'jax', 'dsconv'} <= names
    assert not names & {'tensorflow', 'tensorflow_datasets', 'tf_keras', 'keras'}


def test_each_platform_is_lowered_to_its_form():
    # Without mixing, whose draws have loops of their own.
    traced = jax.jit(made(**UNMIXED)).trace(jax.random.key(0), 0, *batch())
    for platform, in_a_loop, by_gather in [('cpu', True, True), ('cuda', False, True), ('tpu', False, False)]:
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert any('ui8' in line for line in loops(text)) == in_a_loop, platform
        assert bool(re.findall(r'stablehlo\.gather.*ui8', text)) == by_gather, platform
        assert ('stablehlo.dot_general' in text) != by_gather, platform
        assert platform != 'tpu' or not loops(text) and 'f64' not in text  # no double precision on a TPU
