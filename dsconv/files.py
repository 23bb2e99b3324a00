"""Files on disk or in an object store (`gs://`): paths, atomic writes, and the classification of read errors."""

import contextlib
import errno
import json
import os
import platform
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from dsconv.errors import InputError, nearest, require_tensorflow, status_of, with_causes

# TensorFlow's client retries for up to twenty minutes if a firewall drops its packets. It reads these when imported.
PATIENCE = {'GCS_REQUEST_CONNECTION_TIMEOUT_SECS': '10', 'GCS_RETRY_CONFIG_MAX_RETRIES': '8'}

# Errors that concern the content of files: missing, truncated or malformed files.
WRONG_KIND = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
CONTENT_STATUS = ('INVALID_ARGUMENT', 'NOT_FOUND', 'FAILED_PRECONDITION', 'OUT_OF_RANGE', 'UNIMPLEMENTED', 'DATA_LOSS')
STORE_STATUS = (
    'ABORTED', 'DEADLINE_EXCEEDED', 'NOT_FOUND', 'PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'UNAUTHENTICATED',
    'UNAVAILABLE',
)  # fmt: skip


def is_remote(path: str | Path) -> bool:
    """Returns whether a path is in an object store."""
    return '://' in os.fspath(path)


def to_path(path: str | Path) -> Path:
    """Expands `~`; turns `gs://BUCKET/…` into an `etils.epath.Path`. Raises InputError for any other scheme."""
    if not is_remote(path):
        return Path(os.path.expanduser(path))
    if not re.match('gs://[^/]', os.fspath(path)):
        raise InputError(f'{path} must be a path of this machine, or gs://BUCKET/PATH')
    require_tensorflow(os.fspath(path))
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    from etils import epath

    return epath.Path(path)


def absolute(path: str | Path) -> Path:
    """Returns the absolute path; `~` is expanded."""
    path = to_path(path)
    return path if is_remote(path) else Path(os.path.abspath(path))


def is_file(path: Path) -> bool:
    """Returns whether the file exists; unlike pathlib, does not raise if the name is too long."""
    return path.is_file() if is_remote(path) else os.path.isfile(path)


def is_directory(path: Path) -> bool:
    """Returns whether the directory exists."""
    return path.is_dir() if is_remote(path) else os.path.isdir(path)


def name_beside(path: Path, fits: Callable[[Path], bool]) -> str:
    """Returns `'; did you mean PATH?'` for a missing path, with the nearest sibling that `fits` accepts, or `''`."""
    if is_remote(path) or os.path.lexists(path):
        return ''
    with contextlib.suppress(OSError):  # the directory is missing, or cannot be listed
        if name := nearest(path.name, [each.name for each in path.parent.iterdir() if fits(each)]):
            return f'; did you mean {path.with_name(name)}?'
    return ''


def make_directory(path: Path) -> None:
    """Makes a directory and its missing parents; raises OSError if it is not writable, or its bucket does not exist."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return
    bucket = to_path('/'.join(os.fspath(path).split('/')[:3]))
    if not bucket.exists():  # TensorFlow's makedirs would loop over the parents forever
        raise FileNotFoundError(errno.ENOENT, 'there is no such bucket', os.fspath(bucket))


def to_json(value, indent: int | None = None) -> str:
    """Returns JSON. Bytes of a name that are not UTF-8, which Python represents as lone surrogates, are escaped."""
    return json.dumps(value, indent=indent, ensure_ascii=False).encode(errors='backslashreplace').decode()


def write_json(path: Path, value) -> None:
    """Writes a value as indented JSON (`to_json`) by `replace_file`."""
    replace_file(path, f'{to_json(value, indent=2)}\n'.encode())


def replace_file(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically: a reader finds the old file or the new one, even after a crash.

    Raises OSError if the disk is full or the directory is missing; `path` is then unchanged.
    """
    if is_remote(path):
        path.write_bytes(content)  # an object store writes objects atomically
        return
    # In the same directory: a rename cannot cross file systems. A unique name: several machines may write the file.
    partial = path.with_name(f'.{path.name}.{platform.node()}-{threading.get_native_id()}.partial')
    try:
        with partial.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # otherwise, a power failure may keep the rename and lose the content
        os.replace(partial, path)
    except OSError as error:
        if error.filename:
            error.filename = os.fspath(path)  # the name that the user gave, not that of the partial file
        raise
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def check_output(directory: Path) -> None:
    """Raises InputError or OSError if a directory cannot be made or written to; creates nothing."""
    if not is_remote(directory):
        directory = next(filter(os.path.lexists, (directory.absolute(), *directory.absolute().parents)))
        if not is_directory(directory):
            raise InputError(f'--output: {directory} is not a directory')
    make_directory(directory)


def require_new(path: Path) -> None:
    """Raises InputError if `path` exists, or is in an object store, which cannot create a directory atomically."""
    if is_remote(path):
        raise InputError(f'--output={path} must be a directory of this machine')
    if os.path.lexists(path):  # also a broken link
        raise InputError(f'{path} already exists: use another --output, or move it to another place')
    check_output(path.parent)


@contextlib.contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yields an empty directory, which is renamed to `path` at the end unless it was removed or the block raised."""
    require_new(path)
    partial = path.with_name(f'.{path.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    make_directory(partial)
    try:
        yield partial
        if partial.exists():
            partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_if_there(path: Path) -> bytes | None:
    """Returns the content of a file, or None if the file is missing; raises if it cannot be read."""
    try:
        return path.read_bytes()
    except Exception as error:  # TensorFlow raises its own type
        if isinstance(error, FileNotFoundError) or status_of(error) == 'NOT_FOUND':
            return None
        raise


def read_through(directory: Path) -> None:
    """Reads every file below a local directory; raises OSError if a file exists and cannot be read."""

    def is_wrong(error):
        if not isinstance(error, WRONG_KIND):
            raise error

    for folder, _, names in os.walk(directory, onerror=is_wrong, followlinks=True):
        for name in names:
            read_if_there(Path(folder, name))


def is_passing(error: BaseException) -> bool:
    """Returns whether a read error comes from the machine or the object store, not from the content of the files.

    These are errors of the operating system, except a missing file or a file of the wrong kind; a lack of memory or
    threads; and a refusal or timeout of an object store.
    """

    def is_of_machine(link):
        if status := status_of(link):
            return status not in CONTENT_STATUS
        return isinstance(link, (MemoryError, OSError)) and not isinstance(link, WRONG_KIND)

    return any(map(is_of_machine, with_causes(error))) or isinstance(error, RuntimeError)


def is_store_fault(error: BaseException) -> bool:
    """Returns whether an object store refused a request of TensorFlow's client, or could not be reached."""
    links = [link for link in with_causes(error) if type(link).__module__.startswith('tensorflow.')]
    return any(status_of(link) in STORE_STATUS for link in links)


def describe(error: BaseException) -> str:
    """Returns the type and the full text of an error on one line, without TensorStore's source locations."""
    text = ' '.join(str(error).split(' [source locations=')[0].split())
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
