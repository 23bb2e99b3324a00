"""Tests show_augment in this process: the sheet shows the results of the operations and of training."""

from fractions import Fraction

import jax
import numpy as np
import pytest
from PIL import Image

from benchmarks.augment import pillow_peer
from dsconv import cli, show_augment
from dsconv import config as configuration
from dsconv.augment import samples
from dsconv.data import train_batches
from dsconv.reporting import contact_sheet
from dsconv.training import step as step_module
from dsconv.training.run import write_config
from dsconv.training.setup import build_training, open_data
from tests.conftest import TINY, tiny_config

SETTINGS = TINY | {
    'seed': '5', 'batch_size': '16', 'model.depth': '0', 'augment.clean_tail_epochs': '3', 'augment.fill': '128',
    'augment.erase_probability': '0.25', 'augment.policy': 'randaugment', 'augment.randaugment_layers': '2',
    'augment.randaugment_magnitude': '5', 'augment.mixup_alpha': '0', 'augment.cutmix_alpha': '1',
    'augment.mix_probability': '0.5',
}  # fmt: skip
OVERRIDES = [f'{key}={value}' for key, value in SETTINGS.items()]


def named(blocks):
    """Returns name → rows of images; a row without a name belongs to the name before it."""
    rows, last = {}, ''
    for name, _, images in (row for _, _, rows in blocks for row in rows):
        last = name or last
        rows.setdefault(last, []).append(images)
    return rows


@pytest.fixture(scope='module')
def operations():
    """Seven images, only one of which has colours, and the blocks of all operations on them."""
    colours = np.random.default_rng(0).integers(0, 256, (7, 10, 10, 3), np.uint8)
    images = colours // 2 + 64
    images[:, :, :, 1:] = images[:, :, :, :1]
    images[3] = colours[3]
    return images, samples.operation_blocks(images, fill=9)


@pytest.fixture(scope='module')
def sheet(tmp_path_factory, operations):
    """The path of a sheet and the blocks of its two panels; the first panel shows the images of `operations`."""
    path, panels = tmp_path_factory.mktemp('sheet') / 'sheet ü.png', []
    draw = contact_sheet.contact_sheet
    line = ['--config=configs/digits.py', *(f'--config.{override}' for override in OVERRIDES), f'--output={path}']
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, 'operation_blocks', lambda images, fill: operations[1])
        patch.setattr(contact_sheet, 'contact_sheet', lambda drawn: (panels.extend(drawn), draw(drawn))[1])
        cli.run(show_augment.flags(), show_augment.show_augment, line)
    return path, *panels


def test_a_sheet_is_drawn(sheet):
    path, *_ = sheet
    assert list(path.parent.iterdir()) == [path]
    with Image.open(path) as picture:
        assert picture.format == 'PNG' and min(picture.size) > 1000 and max(picture.size) < 1500


def test_every_operation_has_a_row_on_the_most_colourful_image_where_it_has_a_magnitude(operations):
    images, blocks = operations
    columns = [(columns, len(rows)) for _, columns, rows in blocks]
    assert columns == [((-10, -5, 0, 5, 10), 5), ((0, 2, 5, 8, 10), 6), ((), 4)]
    image = images[3]
    assert len(named(blocks)) == 15
    by_pillow = pillow_peer.operations(10, 10, fill=9)
    for _, magnitudes, group in blocks[:2]:
        for name, _, row in group:
            expected = [by_pillow[name](Image.fromarray(image), Fraction(magnitude, 10)) for magnitude in magnitudes]
            assert np.array_equal(row, np.stack(expected)), name
    for name, _, row in blocks[2][2]:
        assert np.array_equal(row, np.stack([by_pillow[name](Image.fromarray(each), 0) for each in images[:5]])), name


@pytest.fixture(scope='module')
def training(sheet):
    """(config, training split, images and labels of the first batch, training blocks of the sheet)."""
    _, split, config = open_data(configuration.load('configs/digits.py', OVERRIDES))
    images, labels = next(train_batches(split, batch_size=16, seed=5, start_step=0, num_steps=1))
    return config, split, images, labels, sheet[2]


def test_the_first_row_is_what_the_network_sees_in_the_first_step(training, monkeypatch):
    config, split, images, labels, blocks = training
    seen, normalise = [], step_module.normalise

    def spy(images, mean, std):
        jax.debug.callback(lambda images: seen.append(np.asarray(images)), images)
        return normalise(images, mean, std)

    monkeypatch.setattr(step_module, 'normalise', spy)
    run = build_training(config, split.num_examples, jax.devices()[:1])
    jax.block_until_ready(run.train_step(run.new_state(), images[None], labels[None]))
    jax.effects_barrier()
    rows = named(blocks)
    assert np.array_equal(rows['originals'][0], images[:8])
    assert np.array_equal(rows['augmented'][0], seen[0][:8])
    assert not np.array_equal(rows['augmented'][1], seen[0][:8])


def test_each_part_is_shown_alone_and_noted_as_off_where_it_is(training):
    _, _, images, _, blocks = training
    rows, shown = named(blocks), images[:8]
    assert all(row.shape == shown.shape for parts in rows.values() for row in parts)
    cutout = rows['Cutout'][0]
    assert ((cutout == shown) | (cutout == 128)).all() and (cutout != shown).any(axis=(1, 2, 3)).all()
    erased = (rows['random erasing'][0] != shown).any(axis=3)
    assert erased.any(axis=(1, 2)).all() and erased.mean() < 0.5
    other = shown.reshape(4, 2, *shown.shape[1:])[:, ::-1].reshape(shown.shape)
    for row in rows['CutMix']:
        assert ((row == shown) | (row == other)).all()
    assert not np.array_equal(*rows['CutMix'])
    for row in rows['MixUp']:  # somewhere equal to neither of the two images, but to both where they are equal
        assert ((row != shown) & (row != other)).any() and (row == shown)[shown == other].all()
    for row in rows['crop and flip']:  # only black comes in
        assert (row != shown).any() and (row.sum((1, 2, 3)) <= shown.sum((1, 2, 3))).all()
    policies = [row for name in ('RandAugment', 'AutoAugment', 'either of them') for row in rows[name]]
    assert all((row != shown).any() for row in policies)
    assert len({row.tobytes() for row in policies}) == 5
    assert {name: note for _, _, rows in blocks for name, note, _ in rows if name} == {
        'originals': '', 'augmented': 'as configured', 'crop and flip': 'padding 1, flip none',
        'RandAugment': '2 layers, magnitude 5', 'AutoAugment': '(off)', 'either of them': '(off)',
        'Cutout': '4 pixels (off)', 'random erasing': '', 'MixUp': 'α = 1 (off)', 'CutMix': 'α = 1',
    }  # fmt: skip


def test_of_a_run_the_images_are_those_that_it_was_trained_on(write_pictures, tmp_path, monkeypatch):
    root, shown = write_pictures(), []
    source, split, config = open_data(tiny_config(dataset__name=f'image_folder:{root}', batch_size=16))
    (tmp_path / 'run' / 'checkpoints' / '1').mkdir(parents=True)
    write_config(tmp_path / 'run', config, source)
    Image.new('RGB', (8, 8)).save(root / 'cat' / 'later.png')
    monkeypatch.setattr(samples, 'operation_blocks', lambda images, fill: shown.extend(images))
    monkeypatch.setattr(samples, 'training_blocks', lambda *_: None)
    monkeypatch.setattr(contact_sheet, 'contact_sheet', lambda panels: b'')
    line = [f'--config={tmp_path}/run/config.json', f'--output={tmp_path}/sheet.png']
    cli.run(show_augment.flags(), show_augment.show_augment, line)
    trained = {image.tobytes() for image in split.images(np.arange(split.num_examples))}
    assert {image.tobytes() for image in shown} == trained
