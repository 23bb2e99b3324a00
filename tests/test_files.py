import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from dsconv.files import replace_file


def test_replaces_the_content(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('a much longer old text')
    replace_file(path, b'new')
    assert path.read_bytes() == b'new'
    assert os.listdir(tmp_path) == ['a.txt']


def test_several_may_replace_one_file_at_a_time(tmp_path):
    contents = [bytes([65 + number]) * 10_000 for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda content: [replace_file(tmp_path / 'a', content) for _ in range(25)], contents))
    assert (tmp_path / 'a').read_bytes() in contents
    assert os.listdir(tmp_path) == ['a']


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / 'a.txt'
    path.write_text('old')

    def disk_full(_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', disk_full)
    with pytest.raises(OSError, match='No space left'):
        replace_file(path, b'new')
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.txt']
