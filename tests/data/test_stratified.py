import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from dsconv.data.stratified import divide_into_folds, evenly, stratified_split


def test_stratified_split_counts():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [500, 300, 200]))
    kept, held = stratified_split(labels, 101, seed=1)
    assert np.array_equal(np.sort(np.concatenate([kept, held])), np.arange(1000))
    assert len(held) == 101
    assert np.all(np.abs(np.bincount(labels[held]) - np.array([50.5, 30.3, 20.2])) < 1)
    assert not np.array_equal(held, stratified_split(labels, 101, seed=2)[1])
    assert np.array_equal(held, stratified_split(labels, 101, seed=1)[1])
    assert stratified_split(labels, 0, seed=1)[0].tolist() == list(range(1000))


def test_a_class_keeps_its_only_example():
    labels = np.repeat(np.arange(8), [10] * 5 + [1] * 3)
    kept, held = stratified_split(labels, 11, seed=0)
    assert len(held) == 11 and set(labels[kept]) == set(range(8))


def test_folds_are_a_partition_as_scikit_learns():
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.repeat([0, 1, 2], [61, 33, 9])).astype(np.int32)
    folds = divide_into_folds(labels, 5)
    theirs = [labels[held] for _, held in StratifiedKFold(5).split(labels, labels)]
    for label in range(3):
        counts = np.bincount(folds[labels == label], minlength=5)
        assert sorted(counts) == sorted(np.sum(held == label) for held in theirs)

    groups = generator.integers(0, 25, 103)
    folds = divide_into_folds(labels, 5, groups)
    assert all(len(set(folds[groups == group])) == 1 for group in groups)
    parts = [held for _, held in StratifiedGroupKFold(5).split(labels, labels, groups)]
    wanted = np.bincount(labels) / 5
    ours, theirs = (
        np.sum([(np.bincount(labels[held], minlength=3) - wanted) ** 2 / wanted for held in each])
        for each in ([folds == fold for fold in range(5)], parts)
    )
    assert ours < 1.5 * theirs


def test_some_of_many_are_evenly_spaced_from_the_first_to_the_last():
    assert evenly(5, 3).tolist() == [0, 2, 4]
    assert evenly(199, 100).tolist() == list(range(0, 199, 2))
    assert evenly(3, 5).tolist() == [0, 1, 2]


def test_groups_that_do_not_fit_the_size_are_taken_where_that_is_nearer():
    labels, groups = np.zeros(30, int), np.arange(30) // 3
    for size, nearest in ((1, 0), (2, 3), (4, 3), (5, 6)):
        assert len(stratified_split(labels, size, 0, groups)[1]) == nearest
