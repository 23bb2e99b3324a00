import dataclasses
import errno
import logging
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from dsconv.data import Processes, eval_batches, open_source
from dsconv.errors import InputError, RunError
from tests.data.conftest import check_crops


@pytest.fixture
def opened(settings):
    def make(root, whole=False, **changed):
        return open_source(settings(name=f'image_folder:{root}', **changed), whole=whole)

    return make


def all_images(split):
    return split.images(np.arange(split.num_examples))


def break_pictures(root, count):
    """Cuts the first cats short: a good header, half of the pixels."""
    for path in sorted((root / 'cat').iterdir())[:count]:
        path.write_bytes(path.read_bytes()[:100])


def test_train_and_test_folders(opened, write_pictures, monkeypatch, caplog):
    root = write_pictures(folder='train', count=10)
    write_pictures(folder='test', count=3)
    source = opened(root, validation_fraction=0.2)
    assert source.split_sizes == {'train': 16, 'validation': 4, 'test': 6}
    assert (source.class_names, source.image_size, source.channels) == (('cat', 'dog'), 8, 3)
    assert source.flippable and not opened(root, class_names=('letter_a', 'letter_b')).flippable
    expected = np.stack([Image.open(path) for path in sorted((root / 'test').rglob('*.png'))])
    assert np.array_equal(all_images(source.load('test')), expected)
    assert source.load('test').labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.bincount(source.load('validation').labels).tolist() == [2, 2]
    monkeypatch.chdir(root)
    with caplog.at_level('INFO', 'dsconv'):
        opened('.')
    assert 'read as train/ (20 pictures), test/ (6 pictures)' in caplog.text


def test_without_a_test_the_validation_split_is_reported(opened, write_pictures):
    for folder in ('train', 'val'):
        root = write_pictures(folder=folder, count=2)
    source = opened(root)
    assert source.split_sizes == {'train': 4, 'validation': 4}
    assert opened(root, validation_fraction=0.5).split_sizes == {'train': 2, 'validation': 2}
    assert source.final_split('test') == 'validation' and source.final_split('train') == 'train'


def test_train_alone_is_divided_80_to_20_as_classes_are(opened, write_pictures):
    flat, nested = write_pictures(root='flat', count=9), write_pictures(root='nested', folder='train', count=9)
    for name in ('train', 'test'):
        assert np.array_equal(*(all_images(opened(root).load(name)) for root in (flat, nested)))
    assert opened(nested, validation_fraction=0.5).split_sizes == {'train': 9, 'validation': 9}
    assert opened(flat, validation_fraction=0.5).split_sizes == {'train': 7, 'validation': 7, 'test': 4}
    source = opened(write_pictures(classes=('train', 'boat'), count=20, root='a class called train'))
    assert source.split_sizes == {'train': 32, 'test': 8} and source.class_names == ('boat', 'train')
    assert np.bincount(source.load('test').labels).tolist() == [4, 4]
    for name in ('cat', 'dog'):  # a test split that holds no picture is none
        (nested / 'test' / name).mkdir(parents=True)
    assert opened(nested).split_sizes == opened(flat).split_sizes


def test_what_is_only_scored_may_be_of_one_class(opened, write_pictures):
    root = write_pictures(classes=('cat',), count=3)
    assert opened(root, whole=True).split_sizes == {'train': 3}
    for part, classes in (('train', ('cat',)), ('test', ('cat', 'dog'))):
        write_pictures(classes, count=2, folder=part, root='parts')
    parts = opened(root.with_name('parts'), whole=True)
    assert parts.split_sizes == {'train': 6} and parts.class_names == ('cat', 'dog')


def test_missing_classes_shift_no_label(opened, write_pictures, caplog):
    root = write_pictures(folder='train', classes=('ant', 'bee', 'cow', 'dog'), count=2)
    write_pictures(folder='val', classes=('bee', 'dog'), count=1)
    for path in (root / 'train' / 'cow').iterdir():
        path.unlink()
    source = opened(root)
    assert source.class_names == ('ant', 'bee', 'cow', 'dog')
    assert source.load('train').labels.tolist() == [0, 0, 1, 1, 3, 3]
    assert source.load('validation').labels.tolist() == [1, 3]
    assert "train: has no picture of the class(es) 'cow'" in caplog.text
    assert "val: has no picture of the class(es) 'ant', 'cow'" in caplog.text


def test_class_names_are_taken_as_they_are_and_in_another_order_reorder_the_labels(opened, write_pictures, caplog):
    names = ('Cat', 'cat', 'a b', '[a]*?', '漢字', 'two\nlines', 'x' * 255, 'שלום', '\udcff', '🐱')
    assert opened(write_pictures(classes=names, count=3)).class_names == tuple(sorted(names))
    root = write_pictures(folder='train', classes=('ant', 'bee', 'cow'), count=2, root='insects')
    source = opened(root, class_names=('cow', 'ant', 'bee'), validation_fraction=0.5)
    assert source.class_names == ('cow', 'ant', 'bee')
    assert source.load('train').labels.tolist() == [1, 2, 0] and 'renamed' not in caplog.text
    caplog.set_level('INFO', 'dsconv')
    assert opened(root, class_names=('a', 'b', 'c')).class_names == ('a', 'b', 'c')
    assert 'the classes are renamed: ant → a, bee → b, cow → c' in caplog.text
    with pytest.raises(InputError, match='class_names: ant is the name of another class'):
        opened(root, class_names=('cows', 'ant', 'bee'))


def test_pictures_by_any_name_and_the_rest_counted(opened, write_pictures, caplog):
    root = write_pictures(count=5)
    pixels = Image.open(root / 'cat' / '000.png')
    pixels.save(root / 'cat' / '000.jfif', 'JPEG')
    pixels.rotate(90).save(root / 'cat' / 'no_extension', 'PNG')
    pixels.save(root / 'dog' / 'new.avif', 'AVIF')
    for name in ('README', 'a.npy', 'b.npy', 'c.txt'):
        (root / 'dog' / name).write_text('no picture')
    with caplog.at_level(logging.INFO, 'dsconv'):
        assert sum(opened(root).split_sizes.values()) == 13
    [line] = caplog.messages
    assert '13 pictures of 2 classes; a fixed fifth' in line
    assert line.endswith('left out 4 files of other types (2 .npy, 1 .txt, 1 no extension)')


def test_sizes_that_differ_are_named_and_those_that_are_chosen_said(opened, write_pictures, caplog):
    root = write_pictures(count=3, size=40)
    Image.new('RGB', (60, 50)).save(root / 'dog' / 'wide.png')
    with pytest.raises(InputError, match='40x40 and 60x50 .*--config.dataset.image_size'):
        opened(root)
    assert all_images(opened(root, image_size=6).load('train')).shape == (6, 6, 6, 3)
    caplog.clear()
    with caplog.at_level(logging.INFO, 'dsconv'):
        source = opened(root, auto=('dataset.image_size', 'dataset.crop_scale'))
    assert (source.image_size, source.crop_scale) == (32, None)
    assert 'the median of the shorter sides is 40 pixels: resized to 32×32' in caplog.messages[0]
    assert opened(root, image_size=16, auto=('dataset.crop_scale',)).crop_scale == (0.35, 1.0)


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
    root = write_pictures(count=20)
    break_pictures(root, 1)
    (root / 'dog' / '007.png').write_text('<html>404</html>')
    kept, read = opened(root), opened(root, memory_gigabytes=0.0)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']
    assert len(warnings) == 2 and '2 picture(s) are broken' in warnings[0]
    assert '000.png' in caplog.text and '007.png' in caplog.text
    assert sum(kept.split_sizes.values()) == 38 and kept.split_sizes == read.split_sizes
    kept, read = kept.load('train'), read.load('train')
    assert kept.in_memory and not read.in_memory and np.array_equal(all_images(kept), all_images(read))
    [(images, _, mask)] = eval_batches(read, batch_size=64, processes=Processes(1, 2))
    assert images.shape == (32, 8, 8, 3) and not mask.any()  # the second process has none of the 30


def test_more_than_three_broken_pictures_and_a_tenth_stop(opened, write_pictures):
    for count, broken in ((10, 3), (20, 4)):
        root = write_pictures(count=count, root=str(count))
        break_pictures(root, broken)
        assert sum(opened(root).split_sizes.values()) == 2 * count - broken
    root = write_pictures(count=19)
    break_pictures(root, 4)
    with pytest.raises(InputError, match='4 of 38 pictures cannot be read, more than 10 %.*000.png'):
        opened(root)


def test_random_crops_are_anew_each_epoch_the_same_when_resumed_and_not_evaluated(opened, write_pictures):
    root = write_pictures(count=10, size=40)
    train, _ = check_crops(lambda **crops: opened(root, image_size=8, **crops))
    few = np.concatenate([np.flatnonzero(train.labels == label)[:count] for label, count in enumerate((1, 7))])
    rare = dataclasses.replace(train.subset(few), balanced=True)
    images, labels = next(rare.shuffled(8, 3, range(1), slice(0, 8)))
    assert len({image.tobytes() for image in images[labels == 0]}) == 4  # of one picture


@pytest.mark.parametrize('gigabytes', [1.0, 0.0])
def test_the_same_picture_in_train_and_test_or_in_two_classes_is_said_once(opened, write_pictures, caplog, gigabytes):
    root = write_pictures(folder='train', count=5)
    write_pictures(folder='test', count=5)
    opened(root, memory_gigabytes=gigabytes)
    assert not caplog.messages
    for number in range(4):  # the same pixels in another file
        Image.open(root / 'train' / 'cat' / f'00{number}.png').save(root / 'test' / 'cat' / f'00{number}.bmp')
    (root / 'train' / 'cow').symlink_to(root / 'train' / 'dog')
    opened(root, memory_gigabytes=gigabytes)
    lines = [line for line in caplog.messages if 'has no picture' not in line]
    assert len(lines) == 2
    assert '4 picture(s) (' in lines[0] and lines[0].count('test/cat/') == 3 and 'identical to training' in lines[0]
    assert '5 picture(s) (' in lines[1] and 'identical to pictures of another class' in lines[1]


def test_pictures_on_a_failing_disk_are_not_broken(opened, write_pictures, monkeypatch):
    root = write_pictures()
    source = opened(root, memory_gigabytes=0.0)
    monkeypatch.setattr(Image, 'open', Mock(side_effect=OSError(errno.EIO, 'Input/output error')))
    for read in (lambda: source.load('train').images(np.array([0])), lambda: opened(root)):
        with pytest.raises(RunError, match='png: could not be read .OSError: .*Input/output error.: run the same'):
            read()
