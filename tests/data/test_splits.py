import numpy as np
import pytest

from dsconv.data.splits import Division, Split
from dsconv.data.stratified import stratified_split
from dsconv.errors import InputError


@pytest.mark.parametrize(
    'sizes, validation, train, test, message',
    [
        ({'train': 10}, 0.0, 0.01, 0.0, "none of the 10 examples is left for 'train'"),
        ({'train': 10}, 0.01, 1.0, 0.0, "none of the 10 examples is left for 'validation': add examples"),
        ({'train': 2}, 0.0, 1.0, 0.2, "examples is left for 'test': add examples, or give a test split"),
        ({'train': 10, 'validation': 3}, 0.1, 1.0, 0.0, 'already has a validation split'),
    ],
)
def test_wrong_fractions(sizes, validation, train, test, message):
    with pytest.raises(InputError, match=message):
        Division(sizes, validation, train, test)


@pytest.mark.parametrize('fold', ['1', '0/3', '3/2', '1/1', '²/3', '1/' + '9' * 5000])
def test_wrong_folds(settings, fold):
    with pytest.raises(InputError, match=r'^dataset.fold=.{1,100} must be K/N'):
        Division.of({'train': 10}, settings(fold=fold))


def test_a_class_too_small_to_be_tested_is_said_and_to_be_trained_on_refused(caplog):
    labels = np.repeat([0, 1], [99, 1])
    division = Division({'train': 100}, 0.1, 1.0)
    assert len(division.members('validation', labels, ('common', 'rare'))) == 10
    assert "none of the 1 example(s) of class 'rare' is in the validation split of 10 examples" in caplog.text
    with pytest.raises(InputError, match="'rare' is in the training split"):
        Division({'train': 100}, 0.0, 0.01).members('train', labels, ('common', 'rare'))


def test_groups_too_large_to_divide_are_said():
    division = Division({'train': 20}, 0.0, 1.0, test_fraction=0.2, fold=(1, 5))
    with pytest.raises(InputError, match='the groups are too few or too large to leave a training split'):
        division.members('train', np.arange(20) % 2, ('a', 'b'), groups=np.zeros(20, int))


def test_a_fold_is_held_out_of_the_rest():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [61, 33, 9])).astype(np.int32)
    divisions = [Division({'train': 103}, 0.1, 1.0, fold=(number, 5)) for number in range(1, 6)]
    held = [division.members('validation', labels, tuple('abc')) for division in divisions]
    assert np.array_equal(np.sort(np.concatenate(held)), np.arange(103))
    for division, part in zip(divisions, held, strict=True):
        assert division.sizes == {'train': 103 - len(part), 'validation': len(part)}
        assert np.array_equal(np.setdiff1d(np.arange(103), part), division.members('train', labels, tuple('abc')))


def test_a_balanced_epoch_has_each_class_equally_often_and_each_of_its_examples_too():
    labels = np.repeat([0, 1, 3], [90, 9, 1]).astype(np.int32)
    split = Split(labels, np.asarray, True, balanced=True)  # an image is its index
    batches = [indices for indices, _ in split.shuffled(50, 3, range(4), slice(None))]
    epochs = np.concatenate(batches[:2]), np.concatenate(batches[2:])
    for drawn in epochs:
        assert sorted(np.bincount(labels[drawn], minlength=4)) == [0, 33, 33, 34]
        for label in (0, 1, 3):
            times = np.bincount(drawn, minlength=100)[labels == label]
            assert times.max() - times.min() <= 1
    assert not np.array_equal(*epochs)
    in_forty = np.concatenate([indices for indices, _ in split.shuffled(50, 3, range(80), slice(None))])
    assert np.bincount(in_forty, minlength=100).min() > 0
    assert np.array_equal(next(split.shuffled(50, 3, range(3, 4), slice(None)))[0], epochs[1][50:])


@pytest.mark.parametrize(('own', 'tested'), [({'train': 1000, 'test': 7}, 0), ({'train': 1000}, 200)])
def test_parts_are_those_of_the_runs_of_before(own, tested):
    labels, names = np.arange(1000) % 10, tuple('abcdefghij')
    division, among = Division(own, 0.1, 0.5, test_fraction=tested / 1000), 1000 - tested
    sizes = [('train', among * 9 // 20), ('validation', among // 10), ('test', tested or 7)]
    assert list(division.sizes.items()) == sizes
    assert (division.own_split('validation'), division.own_split('test')) == ('train', 'train' if tested else 'test')
    rest, test = stratified_split(labels, tested, 80_20)
    kept, held = (rest[part] for part in stratified_split(labels[rest], among // 10, 20_151))
    train = kept[stratified_split(labels[kept], among * 9 // 20, 20_152)[0]]
    for name, part in (('train', train), ('validation', held), ('test', test)):
        if division.own_split(name) == 'train':
            assert np.array_equal(division.members(name, labels, names), part)


def test_crops_are_those_of_their_epoch_where_examples_are_left_over():
    def images(indices, seed, epoch, places):
        return 1000 * seed + 100 * epoch + places

    split = Split(np.zeros(23, np.int32), images, in_memory=False, cropped=True)
    batches = split.shuffled(5, 3, range(2, 13), slice(1, 3))  # an epoch is 4 steps
    expected = [3000 + 100 * (step // 4) + 5 * (step % 4) for step in range(2, 13)]
    assert [images.tolist() for images, _ in batches] == [[first + 1, first + 2] for first in expected]
