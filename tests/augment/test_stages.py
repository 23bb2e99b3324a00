"""The stages by themselves: crop against every window that NumPy can cut, flips, and their order."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from configs import common
from dsconv.augment import make_augment, stages
from dsconv.augment.lookup import GATHER
from dsconv.augment.stages import switched_on
from tests.quick import quick_jit

PADDING = 2
DRAWS = 20_000
NUMPY_MODES = {'zero': 'constant', 'reflect': 'reflect'}
OFF = {'crop_padding': 0, 'flip': 'none', 'policy': 'none', 'mix_probability': 0.0}


def settings(**changed):
    return dict(common.get_config().augment) | OFF | changed


@functools.cache
def stage_run(**changed):
    """(key, epoch, images) → what the one stage draws, and the images it makes; jitted."""
    (stage,) = switched_on(settings(**changed))

    @quick_jit
    def run(key, epoch, images):
        batch, height, width, channels = images.shape
        drawn = stage.draw(key, epoch, images)
        planes = images.transpose(0, 3, 1, 2).reshape(batch, channels, height * width)
        planes = jax.vmap(lambda planes, part: stage.alter(planes, part, height, width, GATHER))(planes, drawn)
        return drawn, planes.reshape(batch, channels, height, width).transpose(0, 2, 3, 1)

    return run


def altered(seed, images, epoch=0, **changed):
    return np.asarray(stage_run(**changed)(jax.random.key(seed), epoch, images)[1])


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(0).integers(1, 256, (16, 4, 5, 3), np.uint8)


@pytest.fixture(scope='module')
def repeated(images):
    return np.broadcast_to(images[0], (DRAWS, *images.shape[1:]))


def windows(image, padding, mode='zero'):
    """Bytes of each window of the padded image → its corner."""
    height, width, _ = image.shape
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), NUMPY_MODES[mode])
    corners = np.ndindex(2 * padding + 1, 2 * padding + 1)
    return {padded[i : i + height, j : j + width].tobytes(): (i, j) for i, j in corners}


@pytest.mark.parametrize('mode', NUMPY_MODES)
def test_every_window_occurs_equally_often(images, repeated, mode):
    places = windows(images[0], PADDING, mode)
    assert len(places) == (2 * PADDING + 1) ** 2
    cropped = altered(0, repeated, crop_padding=PADDING, crop_mode=mode)
    assert cropped.dtype == np.uint8
    # A KeyError here is an output that is no window of the padded image.
    counts = collections.Counter(places[image.tobytes()] for image in cropped)
    assert len(counts) == len(places)
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 1e-3
    corners = [places[image.tobytes()] for image in cropped]
    table = np.zeros((25, 25))
    for first, second in zip(corners[::2], corners[1::2]):
        table[5 * first[0] + first[1], 5 * second[0] + second[1]] += 1
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-3  # neighbours draw independently


def test_half_of_the_images_are_mirrored(images, repeated):
    flipped = altered(2, repeated, flip='random')
    mirrored = np.all(flipped == images[0][:, ::-1], axis=(1, 2, 3))
    same = np.all(flipped == images[0], axis=(1, 2, 3))
    assert np.all(mirrored ^ same)
    assert scipy.stats.binomtest(int(mirrored.sum()), DRAWS).pvalue > 1e-3
    # Of two neighbours both are mirrored a quarter of the time.
    both = int(np.sum(mirrored[::2] & mirrored[1::2]))
    assert scipy.stats.binomtest(both, DRAWS // 2, 0.25).pvalue > 1e-3


def test_crop_and_flip_are_drawn_independently(images, repeated):
    found = windows(images[0], 1)
    outcomes = {window: (*corner, 0) for window, corner in found.items()}
    shape = images[0].shape
    for window, corner in found.items():
        outcomes[np.frombuffer(window, np.uint8).reshape(shape)[:, ::-1].tobytes()] = (*corner, 1)
    table = np.zeros((3, 3, 2))
    for image in altered(3, repeated, crop_padding=1, flip='random'):
        table[outcomes[image.tobytes()]] += 1
    assert scipy.stats.chisquare(table.ravel()).pvalue > 1e-3


@pytest.mark.parametrize('mode', NUMPY_MODES)
def test_an_image_is_cropped_and_then_mirrored(images, mode):
    run = stage_run(crop_padding=PADDING, crop_mode=mode, flip='random')
    (corner, mirrored), out = jax.tree.map(np.asarray, run(jax.random.key(4), 0, images))
    assert 0 < mirrored.sum() < len(images)
    assert np.any(corner[mirrored, 1] != 0)
    pad = ((PADDING, PADDING), (PADDING, PADDING), (0, 0))
    for image, (top, left), flip, result in zip(images, corner + PADDING, mirrored, out):
        expected = np.pad(image, pad, NUMPY_MODES[mode])[top : top + 4, left : left + 5]
        assert np.array_equal(result, expected[:, ::-1] if flip else expected)


@functools.cache
def image_set(name):
    """2,048 images that differ, of many levels or of few."""
    generator, shape = np.random.default_rng(7), (2048, 8, 10, 3)
    make = {
        'all levels': lambda: generator.integers(0, 256, shape),
        'one grey channel of 17 levels': lambda: 15 * generator.integers(0, 18, (2048, 8, 8, 1)),
        # All but a few pixels white, as drawings are.
        'sparse': lambda: np.where(generator.random(shape) < 0.02, generator.integers(0, 256, shape), 255),
    }
    images = make[name]().astype(np.uint8)
    images[:, 0, 0], images[:, 0, -1] = 0, images.max()  # so that none is its own mirror image
    return images


def mirrored_in(epoch, images, seed=0):
    out = altered(seed, images, jnp.int32(epoch), flip='alternating')
    mirrored, same = (np.all(out == candidate, axis=(1, 2, 3)) for candidate in (images[:, :, ::-1], images))
    assert np.all(mirrored ^ same)
    return mirrored


SETS = ['all levels', 'one grey channel of 17 levels', 'sparse']


@pytest.mark.parametrize('name', SETS)
def test_an_alternating_flip_mirrors_each_image_in_every_other_epoch_and_half_in_each(name):
    images = image_set(name)
    epochs = [mirrored_in(epoch, images, seed=epoch) for epoch in range(4)]
    assert scipy.stats.binomtest(int(epochs[0].sum()), len(images)).pvalue > 1e-3
    for before, after in zip(epochs, epochs[1:]):
        assert np.array_equal(after, ~before)


def test_an_alternating_flip_depends_on_neither_key_nor_place():
    images = image_set('all levels')
    mirrored = mirrored_in(5, images, seed=0)
    assert np.array_equal(mirrored_in(5, images, seed=1), mirrored)
    order = np.random.default_rng(0).permutation(len(images))
    assert np.array_equal(mirrored_in(5, images[order]), mirrored[order])


def augmented(images, **changed):
    augment = quick_jit(make_augment({'epochs': 1, 'augment': settings(**changed)}, 2))
    return np.asarray(augment(jax.random.key(0), 0, images, np.arange(len(images), dtype=np.int32) % 2)[0])


@pytest.fixture
def inverting(monkeypatch):
    """Settings of a policy whose only operation, quick to compile, is to invert."""
    monkeypatch.setattr(stages, 'apply_operation', lambda planes, *_: 255 - planes)
    return dict(policy='randaugment', randaugment_layers=1)


def test_a_policys_operations_follow_the_crop(inverting):
    # The black that the crop brings in becomes white, the image black.
    white = np.full((512, 5, 5, 1), 255, np.uint8)
    out = augmented(white, **inverting, crop_padding=2)[..., 0]
    assert np.all(out[:, 2, 2] == 0)
    assert np.any(out.max(axis=(1, 2)) == 255)


def test_cutout_follows_a_policys_operations_and_random_erasing_follows_cutout(inverting):
    # A square that covers all.
    images = np.random.default_rng(2).integers(0, 256, (256, 4, 6, 3), np.uint8)
    assert np.all(augmented(images, **inverting, cutout_size=12, fill=77) == 77)
    noisy = augmented(images, cutout_size=12, fill=77, erase_probability=1.0)
    erased = noisy != 77
    assert np.all(erased.any(axis=(1, 2, 3)))
    assert not np.all(erased)


def test_mixing_comes_last():
    # Half black, half the Cutout square's white: nowhere where the square came after.
    changed = dict(cutout_size=4, fill=255, mix_probability=1.0, mixup_alpha=100.0, cutmix_alpha=0.0, mix_per='image')
    out = augmented(np.zeros((16, 12, 12, 1), np.uint8), **changed)
    assert np.any((out > 50) & (out < 205))


def test_a_stage_is_there_where_something_switches_it_on():
    every = {'crop_padding': 4, 'policy': 'either', 'cutout_size': 8, 'erase_probability': 1.0}
    assert switched_on(settings()) == []
    assert len(switched_on(settings(flip='alternating'))) == 1
    for key, value in every.items():
        assert len(switched_on(settings(**{key: value}))) == 1
    assert len(switched_on(settings(**every, flip='random'))) == 4


def test_a_setting_that_is_none_of_its_choices_is_refused():
    for key, value in {'flip': 'auto', 'policy': 'rand', 'crop_mode': 'edge', 'mix_per': 'pixel'}.items():
        with pytest.raises(ValueError, match=f"augment.{key}='{value}' is not one of "):
            switched_on(settings(**{key: value}))
