"""Settings, datasets, workdirs and permissions that are wrong: one line, exit code 2, every file as it was."""

import os
import shutil

import pytest

from dsconv import evaluate, main, predict
from tests.commands import DIGITS
from tests.wrong_input.making import PICKLE, TWO, build

CIFAR10, DATA = '--config.dataset.name=cifar10', '--config.dataset.data_dir='
PICTURES = '--config.dataset.name=image_folder:pictures'
LINES = {
    'fewer epochs': (main, ['--workdir=run', '--config.epochs=2'], 'epochs=2 ends at step 38, but run has been'),
    'a file for a workdir': (main, ['--workdir=file'], '--workdir=file cannot be made: File exists'),
    'a trace into a bucket': (main, ['--workdir=gs://b/run', '--profile=3'], '--profile writes into a directory of'),
    'data in a file': (main, [CIFAR10, f'{DATA}file'], 'cifar10', 'in file'),
    'data that are a pickle': (main, [CIFAR10, f'{DATA}prepared'], 'cifar10', 'prepared'),
    'a split of no run': (evaluate, ['--workdir=run', '--split=tset'], "there is no split 'tset'"),
    'a place without its section': (evaluate, ['--workdir=run', '--data_dir=x'], '--config.dataset.data_dir?'),
    'a checkpoint of no step': (evaluate, ['--workdir=run', '--checkpoint=²'], '--checkpoint=²: there are latest'),
}  # fmt: skip


@pytest.mark.parametrize('case', LINES)
def test_lines(refuse, finished_run, tmp_path, case):
    module, line, *words = LINES[case]
    if any(word.startswith(DATA) for word in line):
        pytest.importorskip('tensorflow_datasets')
    shutil.copytree(finished_run, tmp_path / 'run')
    build(tmp_path, {'file': b'', 'pickle': PICKLE, 'prepared/cifar10/3.0.2/dataset_info.json': PICKLE})
    refuse(module, [*(DIGITS if module is main else []), *line], *words)


@pytest.mark.parametrize(
    ('locked', 'module', 'line', 'words'),
    [
        ('pictures/dog', main, ['--workdir=new', PICTURES], 'dog: Permission denied'),
        ('pictures/dog/0.png', predict, ['--workdir=run', 'pictures/dog/0.png'], '0.png: cannot be read (Permission'),
        ('run/config.json', evaluate, ['--workdir=run'], 'config.json is damaged (PermissionError'),
        ('place', main, ['--workdir=place/new'], '--workdir=place/new cannot be made: Permission denied'),
    ],
)  # fmt: skip
def test_what_may_not_be_opened(refuse, finished_run, tmp_path, locked, module, line, words):
    build(tmp_path, {f'pictures/{path}': picture for path, picture in TWO.items()} | {'place': None})
    shutil.copytree(finished_run, tmp_path / 'run')
    mode = (tmp_path / locked).stat().st_mode
    (tmp_path / locked).chmod(0)
    try:
        if os.access(tmp_path / locked, os.R_OK):
            pytest.skip('this user may open everything')
        refuse(module, [*(DIGITS if module is main else []), *line], words)
    finally:
        (tmp_path / locked).chmod(mode)
