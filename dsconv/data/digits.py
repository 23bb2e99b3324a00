"""The digits in scikit-learn: 1,797 grey images of 8×8 pixels, which are part of the package. Nothing is downloaded."""

import numpy as np

from dsconv.data.arrays import array_source
from dsconv.data.source import Source
from dsconv.data.stratified import stratified_split

SPLIT_SEED = 1797
TEST_SIZE, VALIDATION_SIZE = 360, 180


def open_digits(dataset) -> Source:
    """Opens the digits with fixed stratified splits: 1,257 train, 180 validation and 360 test (about 70/10/20 %)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images[..., None] * (255 / 16)).astype(np.uint8)  # levels 0..16
    rest, test = stratified_split(digits.target, TEST_SIZE, SPLIT_SEED)
    train, validation = (rest[part] for part in stratified_split(digits.target[rest], VALIDATION_SIZE, SPLIT_SEED))
    members = {'train': train, 'validation': validation, 'test': test}
    splits = {name: (images[rows], digits.target[rows]) for name, rows in members.items()}
    return array_source(splits, tuple('0123456789'), dataset)
