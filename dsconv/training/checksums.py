"""Checksums of the content of a checkpoint, to verify that the restored content is the saved content."""

import hashlib
import json
import zlib
from pathlib import Path

import jax
import numpy as np

from dsconv.files import WRONG_KIND, read_if_there


def checksums(tree) -> dict[str, int]:
    """Returns the CRC-32 of the dtype, shape and bytes of each leaf, by its path in the tree."""

    def checksum(leaf):
        return zlib.crc32(np.ascontiguousarray(leaf), zlib.crc32(f'{leaf.dtype} {leaf.shape}'.encode()))

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): checksum(np.asarray(leaf)) for path, leaf in leaves}


def identity(step: Path) -> str | None:
    """Returns the SHA-256 of a checkpoint's checksums, or None. It differs for other networks of the same step."""
    written = read_if_there(step / 'checksums' / 'metadata')
    return None if written is None else hashlib.sha256(written).hexdigest()


def has_damaged_metrics(step: Path) -> bool:
    """Returns whether `step` is not a directory, or its metrics, by which Orbax finds the best, fail their checksums.

    Raises OSError if the metrics cannot be read.
    """
    try:
        metrics = read_if_there(step / 'metrics' / 'metrics')
        read = checksums({'metrics': None if metrics is None else json.loads(metrics)})
    except (ValueError, TypeError, RecursionError, *WRONG_KIND):
        return step.exists()  # a run that is still training may have deleted it
    try:
        written = json.loads(read_if_there(step / 'checksums' / 'metadata') or b'')
        expected = {path: written[path] for path in written if path.startswith("['metrics']")}
    except (ValueError, TypeError, AttributeError, RecursionError, *WRONG_KIND):
        return False  # reported when the checkpoint is restored
    return read != expected and step.exists()
