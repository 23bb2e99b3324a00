import numpy as np
import pytest

from dsconv.data.splits import Division, Split
from dsconv.data.stratified import stratified_split
from dsconv.errors import InputError


@pytest.mark.parametrize(
    'sizes, validation, train, message',
    [
        ({'train': 10}, 0.0, 0.0, 'train_fraction=0.0'),
        ({'train': 10}, 0.01, 1.0, "none of the 10 examples is left for 'validation': add examples"),
        ({'train': 10, 'validation': 3}, 0.1, 1.0, 'already has a validation split'),
    ],
)
def test_wrong_fractions(sizes, validation, train, message):
    with pytest.raises(InputError, match=message):
        Division(sizes, validation, train)


@pytest.mark.parametrize('fold', ['1', '0/3', '3/2', '1/1', '²/3', '1/' + '9' * 5000])
def test_wrong_folds(settings, fold):
    with pytest.raises(InputError, match=r'^dataset.fold=.{1,100} must be K/N'):
        Division.of({'train': 10}, settings(fold=fold))


def test_a_class_too_small_to_be_tested_is_said_and_to_be_trained_on_refused(caplog):
    labels = np.repeat([0, 1], [99, 1])
    division = Division({'train': 100}, 0.1, 1.0)
    assert len(division.members('validation', labels, ('common', 'rare'))) == 10
    assert "none of the 1 example(s) of class 'rare' is in the validation part (10)" in caplog.text
    with pytest.raises(InputError, match="'rare' is in the training part"):
        Division({'train': 100}, 0.0, 0.1).members('train', labels, ('common', 'rare'))


def test_too_little_to_divide_is_said():
    with pytest.raises(InputError, match="examples is left for 'test': add examples, or name those to test on"):
        Division({'train': 2}, 0.0, 1.0, test_fraction=0.2)
    division = Division({'train': 20}, 0.0, 1.0, test_fraction=0.2, fold=(1, 5))
    with pytest.raises(InputError, match='the groups are too few or too large to leave a training part'):
        division.members('train', np.arange(20) % 2, ('a', 'b'), groups=np.zeros(20, int))


def test_a_fold_is_held_out_of_the_rest():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [61, 33, 9])).astype(np.int32)
    divisions = [Division({'train': 103}, 0.1, 1.0, fold=(number, 5)) for number in range(1, 6)]
    held = [division.members('validation', labels, tuple('abc')) for division in divisions]
    assert np.array_equal(np.sort(np.concatenate(held)), np.arange(103))
    for division, part in zip(divisions, held, strict=True):
        assert division.sizes == {'train': 103 - len(part), 'validation': len(part)}
        assert np.array_equal(np.setdiff1d(np.arange(103), part), division.members('train', labels, tuple('abc')))


def test_a_test_part_is_taken_first_and_the_rest_divided_as_if_it_were_all():
    labels = np.arange(1000) % 10
    division = Division({'train': 1000}, 0.1, 0.5, test_fraction=0.2)
    assert division.sizes == {'train': 360, 'validation': 80, 'test': 200}
    rest, tested = stratified_split(labels, 200, 80_20)  # runs of before are divided so
    parts = {name: division.members(name, labels, tuple('abcdefghij')) for name in division.sizes}
    inner = Division({'train': 800}, 0.1, 0.5)
    assert np.array_equal(parts['test'], tested) and division.own_split('test') == 'train'
    for name in ('train', 'validation'):
        assert np.array_equal(parts[name], rest[inner.members(name, labels[rest], tuple('abcdefghij'))])


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


def test_validation_and_training_parts_are_those_of_the_runs_of_before():
    labels, names = np.arange(1000) % 10, tuple('abcdefghij')
    division = Division({'train': 1000, 'test': 7}, validation_fraction=0.1, train_fraction=0.5)
    assert list(division.sizes.items()) == [('train', 450), ('validation', 100), ('test', 7)]
    assert (division.own_split('validation'), division.own_split('test')) == ('train', 'test')
    rest, held = stratified_split(labels, 100, 20_151)
    assert np.array_equal(division.members('validation', labels, names), held)
    kept, _ = stratified_split(labels[rest], 450, 20_152)
    assert np.array_equal(division.members('train', labels, names), rest[kept])


def test_crops_are_those_of_their_epoch_where_examples_are_left_over():
    def images(indices, seed, epoch):
        return np.full(len(indices), 10 * seed + epoch)

    split = Split(np.zeros(23, np.int32), images, in_memory=False, cropped=True)
    batches = split.shuffled(5, 3, range(2, 13), slice(None))  # an epoch is 4 steps
    assert [images[0] for images, _ in batches] == [30 + step // 4 for step in range(2, 13)]
