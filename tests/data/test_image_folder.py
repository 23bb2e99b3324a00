import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from dsconv.data import channel_statistics, eval_batches, open_source
from dsconv.errors import InputError


@pytest.fixture
def opened(settings):
    return lambda root, **changed: open_source(settings(name=f'image_folder:{root}', **changed))


def all_images(split):
    return split.images(np.arange(split.num_examples))


def test_train_and_test_folders(opened, write_pictures):
    root = write_pictures(folder='train', count=10)
    write_pictures(folder='test', count=3)
    (root / 'train' / 'cat' / '000.png').rename(root / 'train' / 'cat' / '000.PNG')
    (root / 'train' / 'cat' / 'notes.txt').touch()
    (root / 'train' / 'cat' / '._001.png').touch()
    (root / 'train' / '.cache').mkdir()
    source = opened(root, validation_fraction=0.2)
    assert source.split_sizes == {'train': 16, 'validation': 4, 'test': 6}
    assert (source.class_names, source.image_size, source.channels) == (('cat', 'dog'), 8, 3)
    assert source.flippable
    expected = np.stack([Image.open(path) for path in sorted((root / 'test').rglob('*.png'))])
    assert np.array_equal(all_images(source.load('test')), expected)
    assert source.load('test').labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.bincount(source.load('validation').labels).tolist() == [2, 2]


def test_own_validation_folder(opened, write_pictures):
    for folder in ('train', 'validation', 'test'):
        root = write_pictures(folder=folder, count=2)
    assert opened(root).split_sizes == {'train': 4, 'validation': 4, 'test': 4}
    with pytest.raises(InputError, match='split of its own'):
        opened(root, validation_fraction=0.5)


def test_class_folders_are_divided_80_to_20(opened, write_pictures, tmp_path):
    root = write_pictures(classes=('train', 'boat'), count=20)
    source = opened(root)
    assert source.split_sizes == {'train': 32, 'test': 8} and source.class_names == ('boat', 'train')
    assert np.bincount(source.load('test').labels).tolist() == [4, 4]
    shutil.copytree(root, tmp_path / 'copy')
    again = opened(tmp_path / 'copy')
    assert np.array_equal(all_images(source.load('test')), all_images(again.load('test')))


def test_not_in_memory_reads_the_same(opened, write_pictures):
    root = write_pictures(count=15)
    kept, read = (opened(root, memory_gigabytes=gigabytes).load('train') for gigabytes in (1.0, 0.0))
    assert kept.in_memory and not read.in_memory
    for (images, labels, _), (other_images, other_labels, _) in zip(
        eval_batches(kept, batch_size=7), eval_batches(read, batch_size=7), strict=True
    ):
        assert np.array_equal(images, other_images) and np.array_equal(labels, other_labels)
    assert channel_statistics(kept) == channel_statistics(read)


def test_characters_are_not_flippable(opened, write_pictures):
    root = write_pictures(classes=('letter_a', 'letter_b'))
    assert not opened(root).flippable
    assert opened(root, class_names=('apple', 'pear')).flippable


def test_sizes_differ(opened, write_pictures):
    root = write_pictures(size=8)
    Image.new('RGB', (8, 5)).save(root / 'dog' / 'wide.png')
    with pytest.raises(InputError, match='8x8 and 8x5 .*--config.dataset.image_size'):
        opened(root)
    source = opened(root, image_size=6)
    assert all_images(source.load('train')).shape == (17, 6, 6, 3)


def test_grey_only_when_every_picture_is(opened, write_pictures):
    root = write_pictures()
    for path in root.rglob('*.png'):
        Image.open(path).convert('LA' if '1' in path.name else 'L').save(path)
    Image.fromarray(np.full((8, 8), 514, np.uint16)).save(root / 'cat' / '000.png')
    assert opened(root).channels == 1
    assert opened(root, channels=3).channels == 3
    Image.new('P', (8, 8)).save(root / 'cat' / '001.png')
    assert opened(root).channels == 3


def test_few_broken_pictures_are_named_and_left_out(opened, write_pictures, caplog):
    root = write_pictures(count=100)
    data = (root / 'cat' / '005.png').read_bytes()
    (root / 'cat' / '005.png').write_bytes(data[:100])  # a good header, half of the pixels
    (root / 'dog' / '007.png').write_text('<html>404</html>')
    with caplog.at_level(logging.WARNING, 'dsconv'):
        kept, read = opened(root), opened(root, memory_gigabytes=0.0)
    assert '005.png' in caplog.text and '007.png' in caplog.text and '1 of 200' in caplog.text
    assert sum(kept.split_sizes.values()) == 198 and kept.split_sizes == read.split_sizes
    assert np.array_equal(all_images(kept.load('train')), all_images(read.load('train')))


def test_many_broken_pictures_stop(opened, write_pictures):
    root = write_pictures(count=50)
    for name in ('001.png', '002.png'):
        (root / 'cat' / name).write_bytes((root / 'cat' / name).read_bytes()[:100])
    with pytest.raises(InputError, match='2 of 100 pictures are broken, more than 1 %.*001.png'):
        opened(root)


def test_class_names_are_taken_as_they_are(opened, write_pictures):
    names = ('Cat', 'cat', 'two\nlines', 'x' * 255, 'שלום', '\udcff', '🐱')
    assert opened(write_pictures(classes=names)).class_names == tuple(sorted(names))


def test_links_are_followed_but_a_hidden_one_to_nowhere_is_ignored(opened, write_pictures, tmp_path):
    root = write_pictures(classes=('cat', 'dog'))
    (root / 'dog').rename(tmp_path / 'elsewhere')
    (root / 'dog').symlink_to(tmp_path / 'elsewhere')
    (root / '.#lock').symlink_to('nobody@nowhere')
    (root / 'dog' / '.#000.png').symlink_to('nobody@nowhere')
    assert opened(root).split_sizes == {'train': 16, 'test': 4}
