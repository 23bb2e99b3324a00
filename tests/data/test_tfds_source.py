import socket
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from dsconv.data import open_source, train_batches
from dsconv.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (120, 32, 32, 3), np.uint8)


def store(directory, name='cifar10', version='3.0.2', shape=(32, 32, 3), files=None, **splits):
    features = tfds.features.FeaturesDict(
        {'image': tfds.features.Image(shape=shape), 'label': tfds.features.ClassLabel(num_classes=10)}
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        name,
        version,
        features,
        data_dir=directory,
        download_config=tfds.download.DownloadConfig(num_shards=files),
        split_datasets={
            split: [(i, {'image': image, 'label': i % 10}) for i, image in enumerate(images)]
            for split, images in splits.items()
        },
    )


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp('tfds')
    store(directory, train=IMAGES[:100], test=IMAGES[100:])
    return str(directory)


def examples(split):
    images = split.images(np.arange(split.num_examples))
    return [(label, image.tobytes()) for label, image in zip(split.labels.tolist(), images, strict=True)]


@pytest.mark.parametrize('gigabytes', [1.0, 0.0])
def test_holds_what_was_stored(settings, prepared, gigabytes):
    assert tfds.builder('cifar10', data_dir=prepared).info.splits['train'].num_examples == 100
    source = open_source(settings(name='cifar10', data_dir=prepared, memory_gigabytes=gigabytes))
    assert source.split_sizes == {'train': 100, 'test': 20}
    assert (source.image_size, source.channels, len(source.class_names), source.flippable) == (32, 3, 10, True)
    train = source.load('train')
    assert train.in_memory == (gigabytes > 0) and train.labels.dtype == np.int32
    assert sorted(examples(train)) == sorted((i % 10, IMAGES[i].tobytes()) for i in range(100))


def test_streamed_parts_are_those_in_memory(settings, prepared):
    kept, streamed = (
        open_source(
            settings(
                name='cifar10',
                data_dir=prepared,
                memory_gigabytes=gigabytes,
                validation_fraction=0.2,
                train_fraction=0.5,
            )
        )
        for gigabytes in (1.0, 0.0)
    )
    assert kept.split_sizes == streamed.split_sizes == {'train': 40, 'validation': 20, 'test': 20}
    for name in kept.split_sizes:
        assert examples(kept.load(name)) == examples(streamed.load(name))
    assert np.bincount(streamed.load('validation').labels).tolist() == [2] * 10


def test_streamed_training_from_several_files(settings, tmp_path):
    store(tmp_path, files=4, train=IMAGES)
    kept, streamed = (
        open_source(
            settings(name='cifar10', data_dir=str(tmp_path), validation_fraction=0.25, memory_gigabytes=gigabytes)
        ).load('train')
        for gigabytes in (1.0, 0.0)
    )
    options = dict(batch_size=6, seed=0, num_steps=30)  # two epochs of 15 batches
    batches = list(train_batches(streamed, start_step=0, **options))
    for epoch in (batches[:15], batches[15:]):
        assert sorted(
            (label, image.tobytes()) for images, labels in epoch for image, label in zip(images, labels.tolist())
        ) == sorted(examples(kept))
    assert not np.array_equal(batches[0][0], batches[15][0])
    for (images, labels), (again, labels_again) in zip(
        batches[20:], train_batches(streamed, start_step=20, **options), strict=True
    ):
        assert np.array_equal(images, again) and np.array_equal(labels, labels_again)


def test_directory_from_the_environment(settings, prepared, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', prepared)
    assert open_source(settings(name='cifar10')).split_sizes['train'] == 100


def test_absent_data_fails_fast_without_a_network(settings, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError('tried to reach the network')

    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        open_source(settings(name='cifar10', data_dir=str(tmp_path)))
    assert time.monotonic() - start < 10
    message = str(error.value)
    for part in ('cifar10 3.0.2', str(tmp_path), 'download_and_prepare()', 'archive=', 'configs/digits.py'):
        assert part in message
    assert '\n' not in message


@pytest.mark.parametrize(
    'name, message',
    [
        ('cifar1O', 'nearest .*cifar10'),
        ('emnist/leters', 'nearest emnist/letters'),
        ('huggingface:mnist', 'no dataset'),
        ('', 'no dataset'),
        ('glue', 'not a set of labelled pictures'),
        ('binarized_mnist', 'has image'),
    ],
)
def test_unusable_names(settings, tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        open_source(settings(name=name, data_dir=str(tmp_path)))


def test_the_name_of_a_folder_is_told_from_that_of_a_dataset(settings, tmp_path, monkeypatch):
    (tmp_path / 'pictures').mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match='for the pictures in that folder say image_folder:pictures$'):
        open_source(settings(name='pictures', data_dir=str(tmp_path / 'data')))


def test_own_validation_split_and_characters(settings, tmp_path):
    store(
        tmp_path,
        name='mnist',
        version='3.0.1',
        shape=(28, 28, 1),
        train=IMAGES[:20, :28, :28, :1],
        validation=IMAGES[:10, :28, :28, :1],
        extra=IMAGES[:10, :28, :28, :1],
    )
    source = open_source(settings(name='mnist', data_dir=str(tmp_path)))
    assert source.split_sizes == {'train': 20, 'validation': 10}
    assert source.channels == 1 and not source.flippable
    with pytest.raises(InputError, match='split of its own'):
        open_source(settings(name='mnist', data_dir=str(tmp_path), validation_fraction=0.1))


def test_damaged_records(settings, tmp_path):
    store(tmp_path, train=IMAGES[:20])
    [file] = (tmp_path / 'cifar10' / '3.0.2').glob('*tfrecord*')
    file.write_bytes(file.read_bytes()[:-1000])
    for gigabytes in (1.0, 0.0):
        source = open_source(settings(name='cifar10', data_dir=str(tmp_path), memory_gigabytes=gigabytes))
        with pytest.raises(InputError, match=f'{tmp_path}.* damaged'):
            examples(source.load('train'))
        with pytest.raises(InputError, match=f'{tmp_path}.* damaged'):
            list(train_batches(source.load('train'), batch_size=5, seed=0, start_step=0, num_steps=9))


def test_images_are_resized(settings, prepared):
    source = open_source(settings(name='cifar10', data_dir=prepared, image_size=16, channels=1))
    assert source.load('test').images(np.arange(2)).shape == (2, 16, 16, 1)


def test_images_of_many_sizes_from_a_builder_of_ones_own(settings, tmp_path):
    store(
        tmp_path,
        name='thumbnails',
        shape=(None, None, 3),
        train=[image[: 20 + i] for i, image in enumerate(IMAGES[:9])],
    )
    with pytest.raises(InputError, match='differ in size.*--config.dataset.image_size=64'):
        open_source(settings(name='thumbnails', data_dir=str(tmp_path)))
    source = open_source(settings(name='thumbnails', data_dir=str(tmp_path), image_size=12))
    assert source.own('train').images(np.arange(9)).shape == (9, 12, 12, 3)
    assert source.flippable


def test_train_alone_is_divided_unless_a_part_is_held_out_for_validation(settings, tmp_path, caplog):
    store(tmp_path, train=IMAGES[:100])
    parts = []
    for gigabytes in (1.0, 0.0):
        source = open_source(settings(name='cifar10', data_dir=str(tmp_path), memory_gigabytes=gigabytes))
        assert source.split_sizes == {'train': 80, 'test': 20}
        assert np.bincount(source.load('test').labels).tolist() == [2] * 10
        parts.append([examples(source.load(name)) for name in ('train', 'test')])
    assert parts[0] == parts[1] and sorted(sum(parts[0], [])) == sorted(
        (i % 10, IMAGES[i].tobytes()) for i in range(100)
    )
    source = open_source(settings(name='cifar10', data_dir=str(tmp_path), validation_fraction=0.1))
    assert source.split_sizes == {'train': 90, 'validation': 10}
