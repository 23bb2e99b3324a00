"""`make_augment`: a config's `augment` part → one function of a key and a batch."""

import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from configs import common
from dsconv.augment import OFF, make_augment, pipeline
from dsconv.augment.stages import Stage

CLASSES, EPOCHS, CLEAN_EPOCH = 5, 10, 9
# Every stage, with one layer of a policy, which compiles quickly; nothing is mixed in the last three epochs.
ONE_LAYER = {'policy': 'randaugment', 'randaugment_layers': 1}
FULL = ONE_LAYER | {'cutout_size': 3, 'erase_probability': 0.5, 'clean_tail_epochs': 3}
UNMIXED = {'mix_probability': 0.0}


def made(mesh=None, **changed):
    settings = dict(common.get_config().augment, flip='random') | changed
    return make_augment({'epochs': EPOCHS, 'augment': settings}, CLASSES, mesh)


@functools.cache
def compiled(**changed):
    return jax.jit(made(**changed))


def outcome(function, seed, epoch, images, labels):
    return tuple(map(np.asarray, function(jax.random.key(seed), jnp.int32(epoch), images, labels)))


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other))


def batch():
    """Images of more pixels than one digit of a TPU's look-ups counts, 128."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (32, 12, 14, 3), np.uint8)
    return images, generator.integers(0, CLASSES, 32, dtype=np.int32)


def test_everything_off_is_the_identity_and_makes_labels_soft():
    images, labels = batch()
    out, soft = outcome(compiled(**OFF), 0, 0, images, labels)
    assert (out.dtype, soft.dtype) == (np.uint8, np.float32)
    assert np.array_equal(out, images)
    assert np.array_equal(soft, np.eye(CLASSES)[labels])


def test_mixing_is_all_that_an_epoch_changes():
    # Of some batches about half are mixed, but none in the clean epochs, which leave the rest as it is.
    mixed = 0
    for seed in range(8):
        clean = outcome(compiled(**FULL), seed, CLEAN_EPOCH, *batch())
        assert clean[0].dtype == np.uint8
        assert np.array_equal(clean[1], np.eye(CLASSES)[batch()[1]])
        early, late = (outcome(compiled(**FULL), seed, epoch, *batch()) for epoch in (0, 6))
        assert same(early, late)
        assert same(outcome(compiled(**FULL), seed, 7, *batch()), clean)
        mixed += not same(early, clean)
    assert 1 <= mixed <= 7


def test_key_epoch_and_place_alone_decide_without_mixing():
    (images, labels), function = batch(), compiled(**FULL)
    first = outcome(function, 0, CLEAN_EPOCH, images, labels)
    assert same(first, outcome(function, 0, CLEAN_EPOCH, images, labels))
    assert not np.array_equal(first[0], outcome(function, 1, CLEAN_EPOCH, images, labels)[0])
    other = np.roll(images, 1, axis=0)
    other[5] = images[5]
    second, _ = outcome(function, 0, CLEAN_EPOCH, other, labels)
    assert np.array_equal(first[0][5], second[5])
    assert not np.array_equal(first[0][4], second[4])
    out, _ = outcome(function, 0, CLEAN_EPOCH, np.repeat(images[:1], 32, axis=0), labels)
    assert len(np.unique(out.reshape(32, -1), axis=0)) > 28


def test_devices_do_not_change_the_outcome_and_send_no_image_to_another():
    images, labels = batch()
    mesh = Mesh(np.array(jax.devices()), ('data',))
    sharding = NamedSharding(mesh, PartitionSpec('data'))
    assert len(images) // mesh.size % 2 == 0
    on_all = jax.jit(made(mesh, **FULL), in_shardings=(None, None, sharding, sharding), out_shardings=sharding)
    on_all = on_all.lower(jax.random.key(0), jnp.int32(0), images, labels).compile()
    collective = r'(all-gather|all-to-all|collective-permute|all-reduce)(?:-start)?\('
    moved = re.findall(rf'= \(?u8.*? {collective}', on_all.as_text())
    assert not moved
    mixed = 0
    for seed in range(6):
        expected = outcome(compiled(**FULL), seed, 0, images, labels)
        sharded = on_all(jax.random.key(seed), jnp.int32(0), *jax.device_put((images, labels), sharding))
        assert same(sharded, expected)
        mixed += not np.array_equal(expected[1], np.eye(CLASSES)[labels])
    assert mixed


def test_all_images_at_once_come_out_as_one_after_another(monkeypatch):
    # What is compiled for a TPU, here run on a CPU.
    choose = types.SimpleNamespace(platform_dependent=lambda *arguments, **forms: forms['tpu'](*arguments))
    monkeypatch.setattr(pipeline, 'lax', choose)
    together = jax.jit(made(**FULL | UNMIXED))
    for seed in range(6):
        expected = outcome(compiled(**FULL), seed, CLEAN_EPOCH, *batch())
        assert same(outcome(together, seed, CLEAN_EPOCH, *batch()), expected)


def test_each_platform_is_lowered_to_its_form():
    # Without mixing, whose draws have loops of their own.
    traced = jax.jit(made(**ONE_LAYER | UNMIXED)).trace(jax.random.key(0), 0, *batch())
    for platform, in_a_loop, by_gather in [('cpu', True, True), ('cuda', False, True), ('tpu', False, False)]:
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        loops = re.findall(r'stablehlo\.while.*', text)
        assert any('ui8' in line for line in loops) == in_a_loop, platform
        assert bool(re.findall(r'stablehlo\.gather.*ui8', text)) == by_gather, platform
        assert ('stablehlo.dot_general' in text) != by_gather, platform
        assert platform != 'tpu' or not loops and 'f64' not in text  # no double precision on a TPU


def test_each_stage_and_the_mixing_draw_by_a_key_of_their_own(monkeypatch):
    keys = []

    def draw(key, epoch, images):
        keys.append(key)
        return jnp.zeros(len(images))

    def mix(key, planes, soft_labels, *_):
        keys.append(key)
        return planes, soft_labels

    monkeypatch.setattr(pipeline, 'switched_on', lambda settings: [Stage(draw, lambda planes, *_: planes)] * 3)
    monkeypatch.setattr(pipeline, 'mix', mix)
    made()(jax.random.key(0), 0, *map(jnp.asarray, batch()))
    assert len({np.asarray(jax.random.key_data(key)).tobytes() for key in keys}) == len(keys) == 4
