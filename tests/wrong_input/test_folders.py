"""Folders of pictures that cannot be trained on: one line, exit code 2, and every file as it was."""

import pytest

from dsconv import main
from tests.commands import DIGITS, python
from tests.wrong_input.making import PNG, TWO, build, of, png

NAME = '--config.dataset.name=image_folder:pictures'


FOLDERS = {
    'absent': ({}, 'pictures: does not exist'),
    'a file for a class': (of('cat') | {'dog': PNG}, 'holds 1 class folder(s); at least 2 are needed'),
    'empty classes': ({'cat': None, 'dog': None}, '0 of its 2 classes have a picture'),
    'a newline, bytes that are no text': (TWO | {'two\n\udcff': '/no/where'}, r'two \udcff: this link leads nowhere'),
    'larger than can be trained on': (dict.fromkeys(TWO, png(5000, 5000)), 'of 5000x5000 pixels', 'image_size=32'),
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
    build(tmp_path, TWO | {f'dog/x{number}.png': png(12_000, 12_000) for number in range(4)})
    done = python('-m', 'dsconv.main', *DIGITS, NAME.replace('pictures', '.'), cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (2, '', 1), done.stderr
    assert 'x0.png: has too many pixels (12000x12000, over ' in done.stderr
