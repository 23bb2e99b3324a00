import os
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest

from dsconv.errors import status_of
from dsconv.files import is_passing, is_store_fault, new_directory, read_through, replace_file


def test_several_may_replace_one_file_at_a_time_and_a_failure_leaves_the_old_one(tmp_path, monkeypatch):
    contents = [bytes([65 + number]) * 10_000 for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda content: [replace_file(tmp_path / 'a', content) for _ in range(25)], contents))
    replace_file(tmp_path / 'a', b'new')
    assert (tmp_path / 'a').read_bytes() == b'new'
    monkeypatch.setattr(os, 'fsync', Mock(side_effect=OSError(28, 'No space left on device')))
    with pytest.raises(OSError, match='No space left'):
        replace_file(tmp_path / 'a', b'newer')
    assert (tmp_path / 'a').read_bytes() == b'new'
    assert os.listdir(tmp_path) == ['a']


def caused(error, cause):
    """Returns `error` with `cause` as its cause."""
    error.__cause__ = cause
    return error


def test_an_error_is_told_by_its_type_then_by_the_status_that_begins_its_message():
    errors = pytest.importorskip('tensorflow').errors
    assert status_of(ValueError('NOT_FOUND: no such key')) == 'NOT_FOUND'
    assert status_of(ValueError('it is UNAVAILABLE: try again')) is None
    refused = errors.PermissionDeniedError(None, None, 'NOT_FOUND: no')
    unresolved = "Error executing an HTTP request: libcurl code 6 meaning 'Could not resolve hostname'"
    unresolved = errors.FailedPreconditionError(None, None, unresolved)
    assert status_of(refused) == 'PERMISSION_DENIED'
    damage = [
        ValueError('DATA_LOSS: checksum'), FileNotFoundError(), NotADirectoryError(), KeyError('x'), TypeError(),
        ValueError('a text with UNAVAILABLE in it'), errors.OutOfRangeError(None, None, 'HTTP response code 416'),
        errors.FailedPreconditionError(None, None, 'gs://bucket is a directory'),
        caused(ValueError('x'), FileNotFoundError()),
    ]  # fmt: skip
    passing = [
        ValueError('UNAVAILABLE: no answer'), OSError(5, 'EIO'), TimeoutError(), MemoryError(),
        RuntimeError("can't start new thread"), errors.UnavailableError(None, None, 'x'),
        unresolved, caused(ValueError('x'), OSError(5, 'EIO')),
    ]  # fmt: skip
    assert [error for error in damage if is_passing(error)] == []
    assert [error for error in passing if not is_passing(error)] == []
    assert is_store_fault(refused) and is_store_fault(unresolved)
    assert is_store_fault(caused(OSError('as etils puts it'), refused))
    assert not is_store_fault(OSError('gs://bucket: HTTP request'))
    assert not is_store_fault(errors.InvalidArgumentError(None, None, 'gs://bucket'))


def test_a_file_that_cannot_be_read_is_told_from_one_that_is_missing(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'loop').symlink_to('loop')
    with pytest.raises(OSError, match='symbolic links'):
        read_through(tmp_path)
    (tmp_path / 'a' / 'loop').unlink()
    (tmp_path / 'a' / 'missing').symlink_to('nowhere')
    read_through(tmp_path)
    read_through(tmp_path / 'b')


def test_a_new_directory_holds_nothing_of_one_that_was_broken_off(tmp_path):
    (tmp_path / '.out.partial').mkdir()  # left by a killed process
    (tmp_path / '.out.partial' / 'old').touch()
    with new_directory(tmp_path / 'out') as directory:
        (directory / 'new').touch()
    assert os.listdir(tmp_path / 'out') == ['new']
    assert os.listdir(tmp_path) == ['out']
