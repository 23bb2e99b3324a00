import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from dsconv.errors import status_of
from dsconv.files import is_passing, is_store_fault, read_through, replace_file


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


def caused(error, cause):
    """`error`, raised from `cause`."""
    error.__cause__ = cause
    return error


def test_an_error_is_told_by_its_type_then_by_the_status_that_begins_its_message():
    tf = pytest.importorskip('tensorflow')
    assert status_of(ValueError('NOT_FOUND: no such key')) == 'NOT_FOUND'
    assert status_of(ValueError('it is UNAVAILABLE: try again')) is None
    assert status_of(tf.errors.PermissionDeniedError(None, None, 'NOT_FOUND: no')) == 'PERMISSION_DENIED'
    damage = [
        ValueError('DATA_LOSS: checksum'), FileNotFoundError(), NotADirectoryError(), KeyError('x'), TypeError(),
        ValueError('a text with UNAVAILABLE in it'), tf.errors.OutOfRangeError(None, None, 'HTTP response code 416'),
        caused(ValueError('x'), FileNotFoundError()),
    ]  # fmt: skip
    passing = [
        ValueError('UNAVAILABLE: no answer'), OSError(5, 'EIO'), TimeoutError(), MemoryError(),
        RuntimeError("can't start new thread"), tf.errors.UnavailableError(None, None, 'x'),
        caused(ValueError('x'), OSError(5, 'EIO')),
    ]  # fmt: skip
    assert [error for error in damage if is_passing(error)] == []
    assert [error for error in passing if not is_passing(error)] == []


def test_a_fault_of_the_store_is_told_by_its_type():
    tf = pytest.importorskip('tensorflow')
    refused = tf.errors.PermissionDeniedError(None, None, 'HTTP response code 403')
    assert is_store_fault(refused) and is_store_fault(caused(OSError('as etils puts it'), refused))
    assert not is_store_fault(OSError('gs://bucket: HTTP request'))
    assert not is_store_fault(tf.errors.InvalidArgumentError(None, None, 'gs://bucket'))


def test_a_file_that_cannot_be_read_is_told_from_one_that_is_missing(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'loop').symlink_to('loop')
    with pytest.raises(OSError, match='symbolic links'):
        read_through(tmp_path)
    (tmp_path / 'a' / 'loop').unlink()
    (tmp_path / 'a' / 'missing').symlink_to('nowhere')
    read_through(tmp_path)
    read_through(tmp_path / 'b')
