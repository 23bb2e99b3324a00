import numpy as np
import pytest

from dsconv.data.splits import Division, stratified_split
from dsconv.errors import InputError


def test_stratified_split_counts():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [500, 300, 200]))
    kept, held = stratified_split(labels, 101, seed=1)
    assert np.array_equal(np.sort(np.concatenate([kept, held])), np.arange(1000))
    assert len(held) == 101
    assert np.all(np.abs(np.bincount(labels[held]) - np.array([50.5, 30.3, 20.2])) < 1)
    assert not np.array_equal(held, stratified_split(labels, 101, seed=2)[1])
    assert np.array_equal(held, stratified_split(labels, 101, seed=1)[1])


def test_stratified_split_of_nothing():
    kept, held = stratified_split(np.array([1, 0, 1]), 0, seed=1)
    assert kept.tolist() == [0, 1, 2] and held.tolist() == []


def test_division_parts():
    division = Division({'train': 1000, 'test': 7}, validation_fraction=0.1, train_fraction=0.5)
    assert division.sizes == {'train': 450, 'validation': 100, 'test': 7}
    assert list(division.sizes) == ['train', 'validation', 'test']
    labels = np.arange(1000) % 10
    train, validation = (division.members(name, labels, tuple('abcdefghij')) for name in ('train', 'validation'))
    assert not set(train) & set(validation)
    assert set(np.bincount(labels[train])) == {45} and set(np.bincount(labels[validation])) == {10}
    assert division.own_split('validation') == 'train' and division.is_whole('test') and not division.is_whole('train')


def test_train_fraction_leaves_the_validation_part_alone():
    labels = np.arange(1000) % 10
    parts = [
        Division({'train': 1000}, 0.2, fraction).members('validation', labels, tuple('abcdefghij'))
        for fraction in (1.0, 0.25)
    ]
    assert np.array_equal(*parts)


@pytest.mark.parametrize(
    'sizes, validation, train, message',
    [
        ({'train': 10}, 1.0, 1.0, 'validation_fraction=1.0'),
        ({'train': 10}, -0.1, 1.0, 'validation_fraction=-0.1'),
        ({'train': 10}, 0.0, 0.0, 'train_fraction=0.0'),
        ({'train': 10}, 0.0, 1.5, 'train_fraction=1.5'),
        ({'train': 10}, 0.01, 1.0, "left for 'validation'"),
        ({'train': 10, 'validation': 3}, 0.1, 1.0, 'split of its own'),
    ],
)
def test_wrong_fractions(sizes, validation, train, message):
    with pytest.raises(InputError, match=message):
        Division(sizes, validation, train)


def test_class_too_small():
    labels = np.repeat([0, 1], [99, 1])
    with pytest.raises(InputError, match="'rare' has only 1 example"):
        Division({'train': 100}, 0.1, 1.0).members('train', labels, ('common', 'rare'))
