"""The processes of a run, which share the work on each batch and on the first decoding of pictures."""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dsconv.data.threads import attempt, map_threads
from dsconv.errors import InputError

BLOCK_BYTES = 64 * 2**20  # of results in one exchange: every device of the run holds them for a moment


@dataclasses.dataclass(frozen=True)
class Processes:
    """This process and its peers; without arguments, there are no peers.

    Attributes:
      index: index of this process, from 0.
      count: number of processes.
      gather: array `(…)` → the arrays of all processes `(count, …)`. All processes must call it, in the same order.
    """

    index: int = 0
    count: int = 1
    gather: Callable[[np.ndarray], np.ndarray] = lambda array: array[None]

    def agree(self, *facts) -> bool:
        """Returns whether the `repr` of the facts is the same on all processes. All processes must call it."""
        seen = self.gather(np.array(zlib.crc32(repr(facts).encode()) >> 1))  # fits in int32, as JAX needs without x64
        return bool((seen == seen[0]).all())

    def rows(self, batch_size: int) -> slice:
        """Returns the rows of a global batch that this process reads."""
        size = batch_size // self.count
        return slice(self.index * size, (self.index + 1) * size)

    def attempt_all(self, function: Callable, items: Sequence, like: np.ndarray) -> Iterator[tuple]:
        """Calls `function` once for every item, in threads; each process computes its part of every block of items.

        Args:
          function: item → array of the shape and dtype of `like`, or raises InputError.
          items: the same on all processes.

        Yields: for one block after another, (results `(b, *like.shape)`, whether each succeeded `(b,)`), the same on
          every process. The result of a failure is zero.
        """
        size = max(1, min(4096, BLOCK_BYTES // like.nbytes))
        for start in range(0, len(items), size):
            block = items[start : start + size]
            part = -(-len(block) // self.count)
            own = block[self.index * part : (self.index + 1) * part]
            results, done = np.zeros((part, *like.shape), like.dtype), np.zeros(part, bool)
            for row, result in enumerate(map_threads(functools.partial(attempt, function), own)):
                if not isinstance(result, InputError):
                    results[row], done[row] = result, True
            yield tuple(np.concatenate(self.gather(array))[: len(block)] for array in (results, done))


ALONE = Processes()
