"""What every grid of runs needs: its data, opened once, and a validation part, since nothing is chosen by the test
split."""

import functools
import types

VALIDATION_FRACTION = 0.1  # where neither the data nor the config holds anything out


def open_once(dataset):
    """`data.open_source` of a config's `dataset` section: a folder's pictures are all decoded to be opened."""
    return _open(tuple(dataset.items()))


@functools.cache
def _open(dataset):
    from dsconv import data

    return data.open_source(types.SimpleNamespace(**dict(dataset)))


def validation_fraction(dataset) -> float:
    """What `dataset.validation_fraction` of a config must be for there to be a validation split: 0 where the data has
    its own.

    Raises:
      InputError: there is no such data.
    """
    if dataset.validation_fraction or 'validation' in open_once(dataset).split_sizes:
        return dataset.validation_fraction
    return VALIDATION_FRACTION
