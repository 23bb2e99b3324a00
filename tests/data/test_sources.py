import sys

import pytest

from dsconv.data import open_source
from dsconv.errors import InputError


@pytest.mark.parametrize(
    'changed, message',
    [
        (dict(name='/some/folder'), 'use image_folder:/some/folder'),
        (dict(name='image_folder:'), 'needs the path of a folder'),
        (dict(group_key='patient'), 'group_key=patient has no effect on digits'),
        (dict(name='cifar10', archive='/none', label_key='x'), 'label_key=x has no effect on cifar10'),
        (dict(class_names=('a', 'b')), 'has 2 names, but digits has 10'),
        (dict(class_names=tuple('0123456788')), 'class_names has 8 twice'),
        (dict(class_names=tuple('1023456789')), 'class_names: 1 is the name of another class'),
        ({}, "no split 'tset': this dataset has train, validation, test"),
    ],
)
def test_wrong_settings(settings, changed, message):
    with pytest.raises(InputError, match=message):
        open_source(settings(**changed)).load('tset')


def test_what_needs_tensorflow_says_so_where_it_is_not_installed(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorflow', None)
    with pytest.raises(InputError, match='name=mnist needs TensorFlow.* pip install -r requirements.txt$'):
        open_source(settings(name='mnist'))
    with pytest.raises(InputError, match='or give the archive: --config.dataset.archive='):
        open_source(settings(name='cifar10'))
    with pytest.raises(InputError, match='gs://bucket/pictures needs TensorFlow'):
        open_source(settings(name='image_folder:gs://bucket/pictures'))
    assert open_source(settings(name='cifar10'), prepared=False).class_names[6] == 'frog'
    assert open_source(settings(name='cifar10', crop_scale=(0.5, 1.0)), prepared=False).crop_scale == (0.5, 1.0)
