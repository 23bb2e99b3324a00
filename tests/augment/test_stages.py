"""The stages by themselves: crop against every window that NumPy can cut, flips, and their order."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from configs import common
from dsconv.augment import OFF, make_augment, stages
from dsconv.augment.lookup import GATHER
from dsconv.augment.stages import switched_on
from dsconv.config_checks import choices

PADDING = 2
DRAWS = 20_000
NUMPY_MODES = {'zero': 'constant', 'reflect': 'reflect'}


def settings(**changed):
    return dict(common.get_config().augment) | OFF | changed


@functools.cache
def stage_run(**changed):
    """(key, epoch, images) → what the one stage draws, and the images it makes; jitted."""
    (stage,) = switched_on(settings(**changed))

    @jax.jit
    def run(key, epoch, images):
        batch, height, width, channels = images.shape
        drawn = stage.draw(key, epoch, images)
        planes = images.transpose(0, 3, 1, 2).reshape(batch, channels, height * width)
        planes = jax.vmap(lambda planes, part: stage.alter(planes, part, height, width, GATHER))(planes, drawn)
        return drawn, planes.reshape(batch, channels, height, width).transpose(0, 2, 3, 1)

    return run


def altered(seed, images, epoch=0, **changed):
    return np.asarray(stage_run(**changed)(jax.random.key(seed), epoch, images)[1])


@pytest.mark.parametrize('mode', NUMPY_MODES)
def test_every_window_occurs_as_often_as_it_should_and_half_of_them_mirrored(mode):
    image = np.random.default_rng(0).integers(1, 256, (4, 5, 3), np.uint8)
    padded = np.pad(image, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)), NUMPY_MODES[mode])
    windows = [padded[i : i + 4, j : j + 5] for i, j in np.ndindex(2 * PADDING + 1, 2 * PADDING + 1)]
    # A window of the image and its reflection may be its own mirror image, and is then twice as frequent.
    outcomes = collections.Counter(each.tobytes() for window in windows for each in (window, window[:, ::-1]))
    chances = np.array(list(outcomes.values())) / outcomes.total()
    repeated = np.broadcast_to(image, (DRAWS, *image.shape))
    drawn = [each.tobytes() for each in altered(0, repeated, crop_padding=PADDING, crop_mode=mode, flip='random')]
    counts = collections.Counter(drawn)
    assert counts.keys() == outcomes.keys()
    assert scipy.stats.chisquare([counts[outcome] for outcome in outcomes], DRAWS * chances).pvalue > 1e-3
    # Neighbours draw independently: here, whether they are alike.
    alike = sum(one == other for one, other in zip(drawn[::2], drawn[1::2]))
    assert scipy.stats.binomtest(alike, DRAWS // 2, np.sum(chances**2)).pvalue > 1e-3


def image_sets():
    """Yields 2,048 images that differ, three times: of many levels, of few, and white but for a few pixels."""
    generator, shape = np.random.default_rng(7), (2048, 8, 10, 3)
    noise, grey = generator.integers(0, 256, shape), 15 * generator.integers(0, 18, (2048, 8, 8, 1))
    for images in (noise, grey, np.where(generator.random(shape) < 0.02, noise, 255)):
        images = images.astype(np.uint8)
        images[:, 0, 0], images[:, 0, -1] = 0, images.max()  # so that none is its own mirror image
        yield images


@pytest.mark.parametrize('images', list(image_sets()), ids=['all levels', 'grey, of 17 levels', 'sparse'])
def test_an_alternating_flip_mirrors_an_image_in_every_other_epoch_and_half_in_each_whatever_key_and_place(images):
    def mirrored_in(epoch, images, seed=0):
        out = altered(seed, images, jnp.int32(epoch), flip='alternating')
        mirrored, same = (np.all(out == candidate, axis=(1, 2, 3)) for candidate in (images[:, :, ::-1], images))
        assert np.all(mirrored ^ same)
        return mirrored

    first = mirrored_in(0, images)
    assert scipy.stats.binomtest(int(first.sum()), len(images)).pvalue > 1e-3
    for epoch in range(1, 4):
        assert np.array_equal(mirrored_in(epoch, images, seed=epoch), first ^ (epoch % 2 == 1))
    order = np.random.default_rng(0).permutation(len(images))
    assert np.array_equal(mirrored_in(0, images[order]), first[order])


def augmented(images, **changed):
    augment = jax.jit(make_augment({'epochs': 1, 'augment': settings(**changed)}, 2))
    return np.asarray(augment(jax.random.key(0), 0, images, np.arange(len(images), dtype=np.int32) % 2)[0])


def test_the_order_is_crop_policy_cutout_erasing(monkeypatch):
    monkeypatch.setattr(stages, 'apply_operation', lambda planes, *_: 255 - planes)  # quick to compile
    inverting = dict(policy='randaugment', randaugment_layers=1)
    # The black that the crop brings in becomes white, the image black.
    white = np.full((512, 5, 5, 1), 255, np.uint8)
    out = augmented(white, **inverting, crop_padding=2)[..., 0]
    assert np.all(out[:, 2, 2] == 0)
    assert np.any(out.max(axis=(1, 2)) == 255)
    assert np.array_equal(augmented(white, **inverting | {'randaugment_layers': 2}), white)  # twice
    # A square that covers all, and noise in a part of it.
    images = np.random.default_rng(2).integers(0, 256, (256, 4, 6, 3), np.uint8)
    assert np.all(augmented(images, **inverting, cutout_size=12, fill=77) == 77)
    erased = augmented(images, cutout_size=12, fill=77, erase_probability=1.0) != 77
    assert np.all(erased.any(axis=(1, 2, 3))) and not np.all(erased)


def test_mixing_comes_last():
    # Half black, half the Cutout square's white: nowhere where the square came after.
    changed = dict(cutout_size=4, fill=255, mix_probability=1.0, mixup_alpha=100.0, cutmix_alpha=0.0, mix_per='image')
    out = augmented(np.zeros((16, 12, 12, 1), np.uint8), **changed)
    assert np.any((out > 50) & (out < 205))


def test_the_choices_of_a_config_are_taken_but_for_auto_and_others_refused():
    for key, other in {'flip': 'auto', 'policy': 'rand', 'crop_mode': 'edge', 'mix_per': 'pixel'}.items():
        names = [name for name in choices(f'augment.{key}') if name != 'auto']
        with pytest.raises(ValueError, match=f"augment.{key}='{other}' is not one of {', '.join(names)}$"):
            switched_on(settings(**{key: other}))
        for name in names:
            assert len(switched_on(settings(**{key: name}))) == (key in ('flip', 'policy') and name != 'none')


def test_the_operations_of_a_policy_are_applied_one_after_the_other_in_their_order(monkeypatch):
    # Quick to compile, and of another result in the other order.
    monkeypatch.setattr(stages, 'apply_operation', lambda planes, parameters, *_: 2 * planes + parameters.kind)
    (stage,) = switched_on(settings(policy='autoaugment'))
    rows = np.zeros((2, 10), np.int32)
    rows[:, 1] = 1, 5
    out = stage.alter(np.full((1, 20), 7), rows, 4, 5, GATHER)
    assert np.all(out == 2 * (2 * 7 + 1) + 5)
