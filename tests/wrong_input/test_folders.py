"""Folders of pictures that cannot be trained on: one line, exit code 2, and every file as it was."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from dsconv import main
from dsconv.config import ROOT
from tests.wrong_input.making import DIGITS, JPEG, PICKLE, PNG, TWO, build, encoded, of, png

NAME = '--config.dataset.name=image_folder:pictures'
WIDE = encoded(Image.new('RGB', (8, 5)).save, 'PNG')
TRAIN = of('cat', 'dog', split='train')
FOLDERS = {
    'absent': ({}, 'pictures: does not exist'),
    'a link to itself': ({'.': 'pictures'}, 'pictures: does not exist'),
    'zero classes': ({'.': None}, 'holds 0 class folder(s), a classifier needs at least 2'),
    'an empty class': (TWO | {'cow': None}, 'cow: holds no picture itself'),
    'a class round in a circle': (TWO | {'cow': '.'}, 'cow: holds no picture itself'),
    'a class that links to itself': (TWO | {'cow': 'cow'}, 'cow: this link leads nowhere: mend or remove it'),
    'a class unknown in training': (TRAIN | of('cat', 'cow', 'dog', split='test'), "'cow' is in", '/train: every'),
    'a class without a test': (TRAIN | of('cat', split='test'), "class 'dog' is in", '/test: every'),
    'a file for the test': (TRAIN | {'test': b''}, 'eval.final_split=test is not a split of image_folder:'),
    'no training': (of('cat', 'dog', split='test') | {'train': None}, '/test: holds no picture itself'),
    'a newline': (TWO | {'two\nlines': None}, 'two lines: holds no picture itself'),
    'bytes that are no text': (TWO | {'\udcff': None}, r'\udcff: holds no picture itself'),
    'a class of one': (of('cat') | {'dog/0.png': PNG}, "class 'dog' has only 1 example(s)"),
    'two sizes': (TWO | {'dog/wide.png': WIDE}, '8x8 and 8x5', 'wide.png', '--config.dataset.image_size=32'),
    'larger than can be trained on': (dict.fromkeys(TWO, png(5000, 5000)), 'of 5000x5000 pixels', 'image_size=32'),
    'a pickle': (TWO | {'dog/x.png': PICKLE}, 'dog/x.png: is not a picture'),
    'a truncated JPEG': (TWO | {'dog/x.jpg': JPEG[:-200]}, 'dog/x.jpg: is damaged'),
    'a bomb': (TWO | {'dog/x.png': png(60_000, 60_000)}, 'dog/x.png: has too many pixels'),
    'a picture that links to nowhere': (TWO | {'dog/x.png': 'nowhere.png'}, 'dog/x.png: there is no such file'),
    'a class of broken pictures': (
        {f'cat/{number}.png': PNG for number in range(100)} | {'dog/x.png': b''},
        'dog: none of its pictures can be read',
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', FOLDERS)
def test_folders(refuse, tmp_path, case):
    tree, *words = FOLDERS[case]
    build(tmp_path / 'pictures', tree)
    refuse(main, [*DIGITS, '--config.batch_size=8', '--workdir=run', NAME], *words)


def test_pillow_does_not_warn_of_a_bomb_in_lines_of_its_own(tmp_path):
    build(tmp_path, TWO | {'cat/x.png': png(12_000, 12_000)})
    line = [sys.executable, '-m', 'dsconv.main', *DIGITS, NAME.replace('pictures', '.')]
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (2, '', 1), done.stderr
    assert 'x.png: has too many pixels (12000x12000, over ' in done.stderr
