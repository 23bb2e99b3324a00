"""Datasets of TensorFlow Datasets, stored by its own functions, in memory and streamed."""

import dataclasses
import json
import socket
from unittest.mock import Mock

import numpy as np
import pytest

from dsconv.data import Processes, channel_statistics, eval_batches, open_source, stream, train_batches
from dsconv.data.picture import fit_array
from dsconv.data.read_ahead import import_tensorflow
from dsconv.errors import InputError, RunError
from tests.data.conftest import check_crops, examples

tfds = pytest.importorskip('tensorflow_datasets')
tfds_source = pytest.importorskip('dsconv.data.tfds_source')

IMAGES = np.random.default_rng(0).integers(0, 256, (120, 32, 32, 3), np.uint8)


def store_examples(directory, name, version, features, splits, **config):
    """Stores splits, each a list of examples."""
    tfds.dataset_builders.store_as_tfds_dataset(
        name,
        version,
        tfds.features.FeaturesDict(features),
        data_dir=directory,
        split_datasets={split: list(enumerate(examples)) for split, examples in splits.items()},
        **config,
    )


def store(directory, name='cifar10', version='3.0.2', shape=(32, 32, 3), files=None, **splits):
    """Stores splits of images, whose labels are 0 to 9 in turn."""
    features = {'image': tfds.features.Image(shape=shape), 'label': tfds.features.ClassLabel(num_classes=10)}
    splits = {
        split: [{'image': image, 'label': i % 10} for i, image in enumerate(images)] for split, images in splits.items()
    }
    config = tfds.download.DownloadConfig(num_shards=files)
    store_examples(directory, name, version, features, splits, download_config=config)


def kept_and_streamed(settings, **changed):
    return [open_source(settings(**changed, memory_gigabytes=gigabytes)) for gigabytes in (1.0, 0.0)]


def test_streamed_parts_are_those_in_memory_and_hold_what_was_stored(settings, tmp_path, monkeypatch):
    for module in (stream, tfds_source):
        monkeypatch.setattr(module, 'READ_BATCH', 32)  # fewer than there are
    store(tmp_path, train=IMAGES[:100], test=IMAGES[100:])
    options = dict(name='cifar10', data_dir=str(tmp_path), validation_fraction=0.2, train_fraction=0.5)
    kept, streamed = kept_and_streamed(settings, **options)
    assert (kept.image_size, kept.channels, len(kept.class_names), kept.flippable) == (32, 3, 10, True)
    assert kept.own('train').in_memory and not streamed.own('train').in_memory
    assert sorted(examples(kept.own('train'))) == sorted((i % 10, IMAGES[i].tobytes()) for i in range(100))
    assert kept.split_sizes == streamed.split_sizes == {'train': 40, 'validation': 20, 'test': 20}
    for name in kept.split_sizes:
        assert examples(kept.load(name)) == examples(streamed.load(name))
    assert np.bincount(streamed.load('validation').labels).tolist() == [2] * 10
    kept, streamed = kept.load('train'), streamed.load('train')
    assert examples(streamed.subset(np.array([1, 30]))) == examples(kept.subset(np.array([1, 30])))
    np.testing.assert_array_equal(streamed.images(np.array([30, 2, 2, 0])), kept.images(np.array([30, 2, 2, 0])))
    np.testing.assert_allclose(channel_statistics(streamed), channel_statistics(kept), rtol=1e-6)
    shares = [eval_batches(streamed, batch_size=16, processes=Processes(process, 2)) for process in range(2)]
    shares = [image for batches in zip(*shares, strict=True) for images, _, mask in batches for image in images[mask]]
    assert [image.tobytes() for image in shares] == [image for _, image in examples(kept)]


def test_train_alone_is_divided_unless_a_part_is_held_out_for_validation(settings, tmp_path):
    store(tmp_path, train=IMAGES[:100])
    options = dict(name='cifar10', data_dir=str(tmp_path))
    parts = []
    for source in kept_and_streamed(settings, **options):
        assert source.split_sizes == {'train': 80, 'test': 20}
        assert np.bincount(source.load('test').labels).tolist() == [2] * 10
        parts.append([examples(source.load(name)) for name in ('train', 'test')])
    assert parts[0] == parts[1]
    assert sorted(sum(parts[0], [])) == sorted((i % 10, IMAGES[i].tobytes()) for i in range(100))
    source = open_source(settings(**options, validation_fraction=0.1))
    assert source.split_sizes == {'train': 90, 'validation': 10}


def test_streamed_training_from_several_files_shows_all_but_the_rest_each_epoch_and_resumes(settings, tmp_path):
    store(tmp_path, files=4, train=IMAGES)
    options = dict(name='cifar10', data_dir=str(tmp_path), validation_fraction=0.25)
    kept, streamed = (source.load('train') for source in kept_and_streamed(settings, **options))
    options = dict(batch_size=4, num_steps=44)  # two epochs of 22 batches, of 88 of 90 images

    def batches(seed=0, start_step=0, **share):
        run = train_batches(streamed, seed=seed, start_step=start_step, **options, **share)
        return [list(zip(labels.tolist(), map(np.ndarray.tobytes, images), strict=True)) for images, labels in run]

    whole = batches()
    epochs = [sum(whole[:22], []), sum(whole[22:], [])]
    for shown in epochs:
        assert len(set(shown)) == 88 and set(shown) < set(examples(kept))
    assert epochs[0] != epochs[1] and epochs[0] != examples(kept)[:88]
    assert batches(start_step=13) == whole[13:] and batches(start_step=40, seed=1) != whole[40:]
    shares = [batches(start_step=40, processes=Processes(process, 2)) for process in range(2)]
    assert [one + other for one, other in zip(*shares, strict=True)] == whole[40:]


def test_absent_data_fails_without_a_network(settings, tmp_path, monkeypatch):
    refuse = Mock(side_effect=AssertionError('tried to reach the network'))
    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    with pytest.raises(InputError) as error:
        open_source(settings(name='cifar10'))
    for part in ('cifar10 3.0.2', str(tmp_path), 'download_and_prepare()', 'archive=', 'configs/digits.py'):
        assert part in str(error.value)


@pytest.mark.parametrize(
    'name, message',
    [
        ('cifar1O', 'did you mean cifar10\\?; for your own pictures'),
        ('emnist/leters', 'did you mean emnist/letters?'),
        ('MNIST', 'did you mean mnist?'),
        ('glue', 'not a set of labelled pictures'),
        ('cifar\udcff', 'TensorFlow opens no path that is not UTF-8'),
        ('pictures', 'for the pictures in that folder, use image_folder:pictures$'),
        ('a.csv', 'for the pictures in that table, use image_table:a.csv$'),
    ],
)
def test_unusable_names(settings, tmp_path, monkeypatch, name, message):
    (tmp_path / 'pictures').mkdir()
    (tmp_path / 'a.csv').touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        open_source(settings(name=name, data_dir=str(tmp_path / 'data')))


def test_damaged_records(settings, tmp_path):
    store(tmp_path, train=IMAGES[:20])
    [file] = (tmp_path / 'cifar10' / '3.0.2').glob('*tfrecord*')
    file.write_bytes(file.read_bytes()[:-1000])
    for source in kept_and_streamed(settings, name='cifar10', data_dir=str(tmp_path)):
        with pytest.raises(InputError, match=f'{tmp_path}.* damaged'):
            examples(source.load('train'))


def test_records_that_tf_data_does_not_read_are_said(settings, tmp_path, monkeypatch):
    store(tmp_path, train=IMAGES[:20])
    monkeypatch.setattr(tfds.core.DatasetInfo, 'file_format', tfds.core.FileFormat.ARRAY_RECORD)
    with pytest.raises(InputError, match='is an array_record, which tf.data does not read: prepare it as tfrecord'):
        open_source(settings(name='cifar10', data_dir=str(tmp_path)))


def test_a_store_that_does_not_answer_is_not_called_damaged_data(settings, tmp_path, monkeypatch):
    store(tmp_path, train=IMAGES[:20])
    tf = import_tensorflow()
    given, silent = settings(name='cifar10', data_dir=str(tmp_path)), tf.errors.UnavailableError(None, None, '503')
    source = open_source(given)
    monkeypatch.setattr(tf.data.Dataset, 'as_numpy_iterator', Mock(side_effect=silent))
    with pytest.raises(RunError, match='cannot be read .UnavailableError: 503.: run the same command again'):
        source.load('train')
    monkeypatch.setattr(tfds, 'builder', Mock(side_effect=silent))
    with pytest.raises(tf.errors.UnavailableError):  # of which `cli.run` says that the store failed
        open_source(given)


def test_images_of_many_sizes_from_a_builder_of_ones_own(settings, tmp_path):
    images = [image[: 20 + i] for i, image in enumerate(IMAGES[:9])]
    store(tmp_path, name='thumbnails', shape=(None, None, 3), train=images)
    with pytest.raises(InputError, match='differ in size.*--config.dataset.image_size=64'):
        open_source(settings(name='thumbnails', data_dir=str(tmp_path)))
    auto = settings(name='thumbnails', data_dir=str(tmp_path), auto=('dataset.image_size', 'dataset.crop_scale'))
    source = open_source(auto)  # 20 to 28 pixels high, 32 wide
    assert (source.image_size, source.crop_scale) == (24, None)
    auto = settings(name='thumbnails', data_dir=str(tmp_path), image_size=12, auto=('dataset.crop_scale',))
    assert open_source(auto).crop_scale == (0.35, 1.0)
    source = open_source(settings(name='thumbnails', data_dir=str(tmp_path), image_size=12, channels=1))
    stored = {fit_array(image, 12, 1).tobytes() for image in images}
    assert {image.tobytes() for image in source.own('train').images(np.arange(9))} == stored


def test_random_crops_are_anew_each_epoch_and_the_same_when_resumed(settings, tmp_path):
    store(tmp_path, train=IMAGES[:24], test=IMAGES[24:30])
    options = dict(name='cifar10', data_dir=str(tmp_path), image_size=8)
    train, plain = check_crops(lambda **crops: open_source(settings(**options, **crops)))
    uncropped = dataclasses.replace(train, cropped=False)
    bare = next(train_batches(uncropped, batch_size=8, seed=3, start_step=0, num_steps=1))[0]
    assert {image.tobytes() for image in bare} <= {image for _, image in examples(plain)}


PHOTO, NAME = tfds.features.Image(shape=(8, 8, 3)), tfds.features.ClassLabel(names=['ant', 'bee', 'cow'])
PIXELS = IMAGES[:9, :8, :8]
FLOATS = {shape: tfds.features.Tensor(shape=shape, dtype=np.float32) for shape in ((8, 8), (8, 8, 3))}


def store_as(directory, features, example, supervised=()):
    """Stores the images of `PIXELS` with the labels 0, 1, 2, 0, … in turn in two splits, or what `example(i)` gives."""
    features = dict(image=PHOTO, label=NAME) if features is None else features
    whole = [dict(image=PIXELS[i], label=i % 3) | example(i) for i in range(9)]
    whole = [{key: value for key, value in one.items() if key in features} for one in whole]
    store_examples(directory, 'own', '1.0.0', features, {'training': whole[::2], 'testing': whole[1::2]})
    if supervised:  # which that function does not take
        file = directory / 'own' / '1.0.0' / 'dataset_info.json'
        keys = {'tuple': {'items': [{'featureKey': key} for key in supervised]}}
        file.write_text(json.dumps(json.loads(file.read_text()) | {'supervisedKeys': keys}))


def test_a_label_that_is_empty_is_refused_before_a_run_that_could_not_be_loaded(settings, tmp_path):
    store_as(tmp_path, dict(image=PHOTO, label=tfds.features.Text()), lambda i: dict(label=['', 'ant', 'bee'][i % 3]))
    chosen = dict(name='own', data_dir=str(tmp_path), splits=('train=training', 'test=testing'))
    with pytest.raises(InputError, match='a class without a name.*dataset.class_names'):
        open_source(settings(**chosen))
    assert open_source(settings(**chosen, class_names=('none', 'ant', 'bee'))).class_names == ('none', 'ant', 'bee')


# Features, what `store_as` is to give, and perhaps settings and supervised keys.
FEATURES = {
    'integers': (dict(image=PHOTO, label=np.int64), lambda i: dict(label=10 * (i % 3) + 5)),
    'texts': (dict(image=PHOTO, label=tfds.features.Text()), lambda i: dict(label=['cow', 'ant', 'é'][i % 3])),
    'a sequence of one': (dict(image=PHOTO, label=tfds.features.Sequence(NAME)), lambda i: dict(label=[i % 3])),
    'integers in sequences': (
        dict(image=PHOTO, label=tfds.features.Sequence(np.int64)), lambda i: dict(label=[10 * (i % 3) + 5])),
    'supervised keys': (dict(photo=PHOTO, other=PHOTO, kind=NAME, place=NAME),
        lambda i: dict(photo=PIXELS[i], other=PIXELS[0], kind=i % 3, place=0), {}, ('photo', 'kind')),
    'keys, of splits too': (dict(a=PHOTO, b=PHOTO, fine=NAME, coarse=NAME),
        lambda i: dict(a=PIXELS[0], b=PIXELS[i], fine=0, coarse=i % 3),
        dict(image_key='b', label_key='coarse', splits=('train=training', 'validation=testing'))),
    'the only ones there are': (dict(scan=PHOTO, diagnosis=NAME, age=np.int32),
        lambda i: dict(scan=PIXELS[i], diagnosis=i % 3, age=i)),
    'from 0 to 1': (dict(image=FLOATS[8, 8, 3], label=NAME), lambda i: dict(image=np.float32(PIXELS[i] / 255))),
    'no channels': (dict(image=FLOATS[8, 8], label=NAME), lambda i: dict(image=np.float32(PIXELS[i, ..., 0]))),
    'eight bits of sixteen': (dict(image=tfds.features.Tensor(shape=(8, 8), dtype=np.uint16), label=NAME),
        lambda i: dict(image=np.uint16(PIXELS[i, ..., 0]))),
}  # fmt: skip


def test_examples_without_a_label_are_refused(settings, tmp_path):
    store_as(tmp_path, dict(image=PHOTO, label=NAME), lambda i: dict(label=i % 3 if i % 2 else -1))
    for source in kept_and_streamed(settings, name='own', data_dir=str(tmp_path)):
        with pytest.raises(InputError, match=r'without a known label \(labels -1\.\.-1, 3 classes\)'):
            examples(source.load('train'))


def test_classes_without_names_are_those_of_the_training_split(settings, tmp_path):
    store_as(tmp_path, dict(image=PHOTO, label=np.int64), lambda i: dict(label=7 + i % 3 if i % 2 == 0 else -1))
    for source in kept_and_streamed(settings, name='own', data_dir=str(tmp_path)):
        assert source.class_names == ('7', '8', '9')
        with pytest.raises(InputError, match="'testing' in .* without a known label .*eval.final_split"):
            _ = source.load('test').labels
    whole = open_source(settings(name='own', data_dir=str(tmp_path)), whole=True)
    assert whole.class_names == ('-1', '7', '8', '9')


def test_integers_of_0_and_1_are_black_and_white(settings, tmp_path):
    features, masks = dict(image=tfds.features.Tensor(shape=(8, 8), dtype=np.int64), label=NAME), PIXELS[..., :1] > 99
    store_as(tmp_path, features, lambda i: dict(image=np.int64(masks[i, ..., 0])))
    train = open_source(settings(name='own', data_dir=str(tmp_path))).load('train')
    expected = sorted((255 * np.uint8(mask)).tobytes() for mask in masks[::2])
    assert sorted(image.tobytes() for image in train.images(np.arange(5))) == expected


@pytest.mark.parametrize('case', FEATURES)
def test_features_and_splits_by_any_name(settings, tmp_path, case):
    features, example, changed, supervised = (*FEATURES[case], {}, ())[:4]
    store_as(tmp_path, features, example, supervised)
    held_out = 'validation' if 'splits' in changed else 'test'
    names = {'integers': ('5', '15', '25'), 'texts': ('ant', 'cow', 'é')}
    class_names = names.get(case.split()[0], ('ant', 'bee', 'cow'))
    numbers = {'texts': [1, 0, 2]}.get(case, [0, 1, 2])
    for source in kept_and_streamed(settings, name='own', data_dir=str(tmp_path), **changed):
        assert source.class_names == class_names and source.split_sizes == {'train': 5, held_out: 4}
        for split, rows in (('train', range(0, 9, 2)), (held_out, range(1, 9, 2))):
            expected = [(numbers[i % 3], PIXELS[i, ..., : source.channels].tobytes()) for i in rows]
            assert sorted(examples(source.load(split))) == sorted(expected)


@pytest.mark.parametrize(
    ('features', 'example', 'changed', 'message'),
    [
        (dict(image=PHOTO, label=np.float32), {}, {}, r'label is label float32\(\); another feature: .*image uint8'),
        (dict(a=PHOTO, b=PHOTO, label=NAME), dict(a=PIXELS[0], b=PIXELS[0]), {}, 'which feature is the image: it has'),
        (dict(image=PHOTO, label=NAME, group={'a': np.int64}), dict(group={'a': 1}), dict(image_key='group'),
         r'its image is group \(FeaturesDict\)'),
        (None, {}, dict(label_key='labl'), r'label_key=labl is not a feature of .*; did you mean label\?'),
        (dict(image=PHOTO, label=tfds.features.Sequence(NAME)), dict(label=[0, 1]), {}, 'has 2 labels; one is needed'),
        (dict(image=FLOATS[8, 8], label=NAME), dict(image=-np.ones((8, 8), np.float32)), {}, r'have pixels from -1 to'),
        (None, {}, dict(splits=('train=trains',)), r'own has no split trains; did you mean training\?'),
    ],
)  # fmt: skip
def test_features_that_cannot_be_read(settings, tmp_path, features, example, changed, message):
    store_as(tmp_path, features, lambda i: example)
    with pytest.raises(InputError, match=message):
        open_source(settings(name='own', data_dir=str(tmp_path), **changed))


def test_splits_whose_names_say_nothing_are_named(settings, tmp_path):
    store(tmp_path, a=IMAGES[:10])
    with pytest.raises(InputError, match='cifar10 has the splits a, whose names are not known.*splits=train=a$'):
        open_source(settings(name='cifar10', data_dir=str(tmp_path)))
