"""Pictures to classify: files, folders and patterns as a person gives them."""

import collections
import glob
from pathlib import Path

from dsconv.data.listing import pictures_below
from dsconv.files import is_directory, is_file, is_remote, to_path


def find_pictures(given: list[Path]) -> list[str]:
    """Returns the paths of pictures, in the order given; those of a folder or a pattern are sorted.

    Args:
      given: files, which may be missing or of any kind; folders, of which all files below that have the extension of a
        picture, or none, are taken; patterns such as `pictures/**/*.png`, where no file has that name. What gives no
        picture at all is returned itself: to read it says what is wrong.
    """
    return [path for each in given for path in _found(to_path(each)) or [str(each)]]


def _found(path: Path) -> list[str]:
    if is_directory(path):
        return sorted(pictures_below([path], (), collections.Counter()))
    if not glob.has_magic(str(path)) or is_file(path):
        return [str(path)]
    if is_remote(path):
        bucket, _, pattern = str(path).removeprefix('gs://').partition('/')
        found = map(str, to_path(f'gs://{bucket}').glob(pattern))
    else:
        found = glob.glob(str(path), recursive=True)
    return [file for file in sorted(found) if not is_directory(to_path(file))]
