"""Where files are, on a disk or in an object store (`gs://`), and how they are there whole or not at all."""

import errno
import os
import platform
import re
import sys
import threading
from pathlib import Path

from dsconv.errors import InputError

# TensorFlow's client tries for up to twenty minutes where a firewall drops its packets. It reads these when imported.
PATIENCE = {'GCS_REQUEST_CONNECTION_TIMEOUT_SECS': '10', 'GCS_RETRY_CONFIG_MAX_RETRIES': '8'}


def is_remote(path: str | Path) -> bool:
    """Whether a path is one of an object store."""
    return '://' in os.fspath(path)


def to_path(path: str | Path) -> Path:
    """A path as a person writes it: `~` is expanded.

    `gs://BUCKET/…` is an `etils.epath.Path`, which has pathlib's interface and imports TensorFlow when it is used.

    Raises InputError for another scheme than `gs`.
    """
    if not is_remote(path):
        return Path(os.path.expanduser(path))
    if not re.match('gs://[^/]', os.fspath(path)):
        raise InputError(f'{path} must be a path of this machine, or gs://BUCKET/PATH')
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    from etils import epath

    return epath.Path(path)


def absolute(path: str | Path) -> Path:
    """The same path from whatever directory one stands in; `~` is expanded."""
    path = to_path(path)
    return path if is_remote(path) else Path(os.path.abspath(path))


def is_file(path: Path) -> bool:
    """Whether there is such a file; pathlib raises where a name is too long to be one."""
    return path.is_file() if is_remote(path) else os.path.isfile(path)


def is_directory(path: Path) -> bool:
    """As `is_file`, of a directory."""
    return path.is_dir() if is_remote(path) else os.path.isdir(path)


def make_directory(path: Path) -> None:
    """Makes a directory and those above it where they are missing; an object store needs none, but the bucket.

    Raises OSError where that cannot be.
    """
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)
        return
    bucket = to_path('/'.join(os.fspath(path).split('/')[:3]))
    if not bucket.exists():  # TensorFlow, told to make a directory, would look for what is above it for ever
        raise FileNotFoundError(errno.ENOENT, 'there is no such bucket', os.fspath(bucket))


def replace_file(path: Path, content: bytes) -> None:
    """Writes `content` to `path` in one step: a reader, or a crash, meets the old file or the new one.

    Raises OSError when the disk is full or the directory is missing; `path` is then as it was.
    """
    if is_remote(path):
        path.write_bytes(content)  # objects are written whole
        return
    # In the same directory, since a rename does not cross file systems; several machines may write the same file.
    partial = path.with_name(f'.{path.name}.{platform.node()}-{threading.get_native_id()}.partial')
    try:
        with partial.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may keep the rename and lose the content
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def is_out_of_reach(error: Exception) -> bool:
    """Whether an object store refused a request or did not answer: nothing then follows for what it holds."""
    text = str(error)
    return bool(re.search('HTTP re(quest|sponse)', text)) and not re.search('response code:? 4(04|16)', text)


def is_store_fault(error: Exception) -> bool:
    """Whether `error` tells of an object store that refused something or was out of reach."""
    tensorflow = sys.modules.get('tensorflow')
    kinds = (OSError, tensorflow.errors.OpError) if tensorflow else ()
    return isinstance(error, kinds) and any(sign in str(error) for sign in ('gs://', 'HTTP request'))
