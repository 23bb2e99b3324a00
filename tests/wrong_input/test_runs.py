"""Pictures and runs that cannot be read: one line, exit code 2, and every file as it was."""

import json
import shutil

import pytest

from dsconv import predict, publish
from tests.wrong_input.making import PICKLE, PIPE, PNG, build, png

# Wrong pictures beside a right one, which is classified all the same.
PICTURES = {
    'a pipe that nobody writes to': ({'x.png': PIPE}, 'x.png: is not a file'),
    'a pickle': ({'x.png': PICKLE}, 'x.png: is not a picture'),
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


RUNS = {
    'no channels': (set_config(dataset__channels=None), 'dataset.channels=none must be known of a run'),
    'no patches': (set_config(model__patch_size=3), 'model.patch_size=3 does not divide images of 8×8'),
    'another network': (set_config(model__dim=16), 'cannot be restored', 'config.json is not its own'),
    'metadata that are pickles': (overwrite('_METADATA', PICKLE), 'cannot be restored', '--checkpoint'),
    'no checkpoint': (
        lambda run: [shutil.rmtree(run / 'checkpoints'), (run / 'checkpoints').mkdir()],
        'holds no checkpoint yet',
    ),
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
