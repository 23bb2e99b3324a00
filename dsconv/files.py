"""Files that are there whole or not at all."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Writes `content` to `path` in one step: a reader, or a crash, meets the old file or the new one.

    Raises OSError when the disk is full or the directory is missing; `path` is then as it was.
    """
    partial = path.with_name(f'.{path.name}.partial')  # same directory, since a rename does not cross file systems
    try:
        with partial.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may keep the rename and lose the content
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
