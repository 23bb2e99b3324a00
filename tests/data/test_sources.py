import subprocess
import sys

import pytest

from dsconv.data import open_source
from dsconv.errors import InputError


@pytest.mark.parametrize(
    'changed, message',
    [
        (dict(channels=2), 'channels=2 must be 1 or 3'),
        (dict(image_size=0), 'image_size=0 must be positive'),
        (dict(archive='x.tar.gz'), 'cifar10 alone'),
        (dict(name='/some/folder'), 'say image_folder:/some/folder'),
        (dict(name='image_folder:'), 'needs the path of a folder'),
        (dict(name='image_table'), 'needs the path of a CSV file'),
        (dict(class_names=('a', 'b')), 'has 2 names, but digits has 10'),
    ],
)
def test_wrong_settings(settings, changed, message):
    with pytest.raises(InputError, match=message):
        open_source(settings(**changed))


def test_an_absent_split_names_those_there_are(settings):
    with pytest.raises(InputError, match="no split 'tset': this dataset has train, validation, test"):
        open_source(settings()).load('tset')


def test_importing_costs_no_tensorflow():
    code = 'import sys, dsconv.data; print({"tensorflow", "tensorflow_datasets", "sklearn", "jax"} & set(sys.modules))'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == 'set()\n'
