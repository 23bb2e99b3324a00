"""Pictures and runs that cannot be read: one line, exit code 2, nothing unpickled, and every file as it was."""

import io
import json
import pickle
import shutil

import numpy as np
import pytest

from dsconv import predict, publish
from tests.wrong_input.making import JPEG, OBJECTS, PICKLE, PIPE, PNG, build, contents, png

# Wrong pictures beside a right one, which is classified all the same.
PICTURES = {
    'a directory': ({'x.png': None}, 'x.png: is a folder without pictures'),
    'a pipe that nobody writes to': ({'x.png': PIPE}, 'x.png: is not a file'),
    'a pickle': ({'x.png': PICKLE}, 'x.png: is not a picture'),
    'an array of objects': ({'x.png': OBJECTS}, 'x.png: is not a picture'),
    'a truncated JPEG': ({'x.png': JPEG[:-200]}, 'x.png: is damaged'),
    'a bomb': ({'x.png': png(60_000, 60_000)}, 'x.png: has too many pixels'),
}


@pytest.mark.parametrize('case', PICTURES)
def test_pictures(refuse, finished_run, tmp_path, case):
    tree, *words = PICTURES[case]
    build(tmp_path, tree | {'right \udcff.png': PNG})
    output = refuse(predict, [f'--workdir={finished_run}', 'x.png', 'right \udcff.png', 'x\udcff\n.png'], *words)
    assert output.startswith('right \\udcff.png: ')
    assert output.count('\n') == 1


def test_all_unreadable_pictures_are_named(refuse, finished_run):
    words = ('a: there is no such file; b: there is no such file; ', 'x: cannot be read (File name too long)')
    assert refuse(predict, [f'--workdir={finished_run}', 'a', 'b', 'x' * 300], *words) == ''


def set_config(**changes):
    """A damage: other values in a run's config.json, keys with `__` for dots."""

    def damage(run):
        written = json.loads((run / 'config.json').read_text())
        for key, value in changes.items():
            group, leaf = key.split('__')
            written['config'][group][leaf] = value
        (run / 'config.json').write_text(json.dumps(written))

    return damage


def overwrite(pattern, content):
    """A damage: another content of all files of that name."""
    return lambda run: [file.write_bytes(content) for file in run.rglob(pattern) if file.is_file()]


def replace_checkpoints(tree):
    """A damage: something else in the place of the checkpoints."""
    return lambda run: [shutil.rmtree(run / 'checkpoints'), build(run / 'checkpoints', tree)]


RUNS = {
    'a config that is a pickle': (overwrite('config.json', PICKLE), 'config.json is damaged'),
    'no channels': (set_config(dataset__channels=None), 'dataset.channels=none must be known of a run'),
    'no patches': (set_config(model__patch_size=3), 'model.patch_size=3 does not divide images of 8×8'),
    'another network': (set_config(model__dim=16), 'cannot be restored', 'config.json is not its own'),
    'metadata that are pickles': (overwrite('_METADATA', PICKLE), 'cannot be restored', '--checkpoint'),
    'only an array of objects': (replace_checkpoints({'99/model/weights.npy': OBJECTS}), '99: cannot be restored'),
    'no checkpoint': (replace_checkpoints({'.': None}), 'holds no checkpoint yet'),
}


@pytest.mark.parametrize('case', RUNS)
def test_runs(refuse, finished_run, tmp_path, case):
    damage, *words = RUNS[case]
    damage(shutil.copytree(finished_run, tmp_path / 'run'))
    build(tmp_path, {'right.png': PNG})
    assert refuse(predict, ['--workdir=run', 'right.png'], *words) == ''


def test_a_config_without_classes_is_not_published(refuse, finished_run, tmp_path):
    set_config(dataset__class_names=None)(shutil.copytree(finished_run, tmp_path / 'run'))
    refuse(publish, ['--workdir=run', '--output=new'], 'dataset.class_names=none must be known of a run')


def test_the_trap_would_show(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(PICKLE)
    assert contents(tmp_path) == {tmp_path / 'unpickled': None}
    (tmp_path / 'unpickled').rmdir()
    np.load(io.BytesIO(OBJECTS), allow_pickle=True)
    assert (tmp_path / 'unpickled').exists()
