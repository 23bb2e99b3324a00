"""Folders of pictures that cannot be trained on: one line, exit code 2, and every file as it was."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from dsconv import main
from dsconv.config import ROOT
from tests.commands import DIGITS
from tests.wrong_input.making import PICKLE, PNG, TWO, build, encoded, of, png

NAME = '--config.dataset.name=image_folder:pictures'
WIDE = encoded(Image.new('RGB', (8, 5)).save, 'PNG')
TRAIN = of('cat', 'dog', split='train')


def four(broken):
    """Two classes with more broken pictures than are left out with a warning."""
    return TWO | {f'dog/x{number}.png': broken for number in range(4)}


FOLDERS = {
    'absent': ({}, 'pictures: does not exist'),
    'a file for a class': (of('cat') | {'dog': PNG}, 'holds 1 class folder(s), a classifier needs at least 2'),
    'empty classes': ({'cat': None, 'dog': None}, '0 of its 2 classes have a picture'),
    'a class round in a circle': (TWO | {'cow': '.'}, 'cow: this link leads to a folder that holds it'),
    'a class unknown in training': (TRAIN | of('cat', 'cow', 'dog', split='test'), "'cow' is in", '/train: no network'),
    'a newline, bytes that are no text': (TWO | {'two\n\udcff': '/no/where'}, r'two \udcff: this link leads nowhere'),
    'two sizes': (TWO | {'dog/wide.png': WIDE}, '8x8 and 8x5', 'wide.png', '--config.dataset.image_size=32'),
    'larger than can be trained on': (dict.fromkeys(TWO, png(5000, 5000)), 'of 5000x5000 pixels', 'image_size=32'),
    'a pickle': (four(PICKLE), 'dog/x0.png: is not a picture'),
    'a class of broken pictures': (
        {f'cat/{number}.png': PNG for number in range(100)} | {'dog/x.png': b''},
        '1 of its 2 classes have a picture that can be read',
        'dog/x.png: is not a picture',
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', FOLDERS)
def test_folders(refuse, tmp_path, case):
    tree, *words = FOLDERS[case]
    build(tmp_path / 'pictures', tree)
    refuse(main, [*DIGITS, '--config.batch_size=8', '--workdir=run', NAME], *words)


def test_a_bomb_is_one_line_and_no_warning_of_pillow(tmp_path):
    build(tmp_path, four(png(12_000, 12_000)))
    line = [sys.executable, '-m', 'dsconv.main', *DIGITS, NAME.replace('pictures', '.')]
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (2, '', 1), done.stderr
    assert 'x0.png: has too many pixels (12000x12000, over ' in done.stderr
