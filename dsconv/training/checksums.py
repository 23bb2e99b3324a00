"""Checksums of a state's leaves: what a checkpoint's own files do not have, or not of everything."""

import zlib

import jax
import numpy as np


def checksums(tree) -> dict[str, int]:
    """CRC-32 of the type, shape and bytes of each leaf, by its path in the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(tree))
    return {jax.tree_util.keystr(path): _checksum(np.asarray(leaf)) for path, leaf in leaves}


def _checksum(leaf):
    kind = zlib.crc32(f'{leaf.dtype} {leaf.shape}'.encode())
    return zlib.crc32(np.ascontiguousarray(leaf), kind)
