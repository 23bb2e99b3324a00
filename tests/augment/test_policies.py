"""The policies, counted over many draws: what is drawn how often, and what is drawn independently of what."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from configs import common
from dsconv.augment import policies
from dsconv.augment.operations import OPERATIONS, STEPS, parameter_table
from dsconv.augment.stages import switched_on

DRAWS = 200_000
SIDE = 32
SIGNED = ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY')
# RandAugment, section 3.1 and figure 2.
UNSIGNED = {'Identity', 'AutoContrast', 'Equalize', 'Solarize', 'Color', 'Posterize', 'Contrast', 'Brightness'}
FOURTEEN = {*SIGNED, *UNSIGNED, 'Sharpness'}
# AutoAugment, table 7: sub-policies 0 to 24, each operation with its probability and its level.
TABLE_7 = """
Invert 0.1 7 Contrast 0.2 6; Rotate 0.7 2 TranslateX 0.3 9; Sharpness 0.8 1 Sharpness 0.9 3;
ShearY 0.5 8 TranslateY 0.7 9; AutoContrast 0.5 8 Equalize 0.9 2; ShearY 0.2 7 Posterize 0.3 7;
Color 0.4 3 Brightness 0.6 7; Sharpness 0.3 9 Brightness 0.7 9; Equalize 0.6 5 Equalize 0.5 1;
Contrast 0.6 7 Sharpness 0.6 5; Color 0.7 7 TranslateX 0.5 8; Equalize 0.3 7 AutoContrast 0.4 8;
TranslateY 0.4 3 Sharpness 0.2 6; Brightness 0.9 6 Color 0.2 8; Solarize 0.5 2 Invert 0.0 3;
Equalize 0.2 0 AutoContrast 0.6 0; Equalize 0.2 8 Equalize 0.6 4; Color 0.9 9 Equalize 0.6 6;
AutoContrast 0.8 4 Solarize 0.2 8; Brightness 0.1 3 Color 0.7 0; Solarize 0.4 5 AutoContrast 0.9 3;
TranslateY 0.9 9 TranslateY 0.7 9; AutoContrast 0.9 2 Solarize 0.8 3; Equalize 0.8 8 Invert 0.1 3;
TranslateY 0.7 9 AutoContrast 0.9 1
"""
SUB_POLICIES = [
    ((one, float(p), int(level)), (two, float(q), int(other)))
    for one, p, level, two, q, other in (entry.split() for entry in TABLE_7.split(';'))
]


def drawn(**changed):
    """Operations and steps, int `(DRAWS, layers)` each, of the default settings with what a test changes."""
    settings = dict(common.get_config().augment) | changed
    operation, step = map(np.asarray, jax.jit(lambda key: policies.choose(key, DRAWS, settings))(jax.random.key(0)))
    assert operation.dtype == step.dtype == np.int32
    return operation, step


def likely(counts, expected=None):
    """Whether counts are what chance makes of the expected ones, by default equal ones."""
    return scipy.stats.chisquare(counts, expected).pvalue > 1e-3


def independent(first, second):
    """Whether two series of small ints show no dependence."""
    return scipy.stats.chi2_contingency(scipy.stats.contingency.crosstab(first, second).count).pvalue > 1e-3


def assert_uniform_over_the_14(operation):
    numbers, counts = np.unique(operation, return_counts=True)
    assert {OPERATIONS[number] for number in numbers} == FOURTEEN
    assert likely(counts)


@pytest.fixture(scope='module')
def randaugment():
    return drawn(policy='randaugment', randaugment_layers=3, randaugment_magnitude=7.0, randaugment_spread=3.0)


def test_randaugment_is_uniform_over_the_operations_in_each_layer_independently(randaugment):
    operation, step = randaugment
    assert operation.shape == (DRAWS, 3)
    for layer in range(3):
        assert_uniform_over_the_14(operation[:, layer])
    for numbers in (operation, step // 10):
        assert independent(numbers[:, 0], numbers[:, 1])
        assert independent(numbers[:, 1], numbers[:, 2])
    assert independent(operation[:, 0], step[:, 0] // 10)


def test_magnitudes_are_the_one_asked_for_or_normal_about_it_and_cut_to_the_scale(randaugment):
    assert np.all(drawn(policy='randaugment', randaugment_magnitude=7.3)[1] == 66)
    _, step = randaugment
    # Step s stands for the magnitudes that round to it; the two outermost for all beyond as well.
    edges = np.concatenate([[-np.inf], (np.arange(90) + 0.5) / 9, [np.inf]])
    expected = np.diff(scipy.stats.norm.cdf(edges, loc=7, scale=3))
    assert (STEPS, len(expected)) == (90, 91)
    assert (step.min(), step.max()) == (0, 90)
    for layer in range(3):
        assert likely(np.bincount(step[:, layer], minlength=91), DRAWS * expected)


def assert_as_autoaugment(operation, step):
    """That pairs of operations with their steps are as frequent as the table makes them, none missing, none else."""
    chances = collections.Counter()
    for (one, p, level), (two, q, other) in SUB_POLICIES:
        for first, chance in ((one, p), ('Identity', 1 - p)):
            for second, chance_of_second in ((two, q), ('Identity', 1 - q)):
                chances[first, second, 10 * level, 10 * other] += chance * chance_of_second / 25
    chances = {outcome: chance for outcome, chance in chances.items() if chance}
    rows, times = np.unique(np.concatenate([operation, step], axis=1), axis=0, return_counts=True)
    counts = {(OPERATIONS[a], OPERATIONS[b], c, d): count for (a, b, c, d), count in zip(rows.tolist(), times)}
    assert set(counts) == set(chances)
    assert likely([counts[outcome] for outcome in chances], len(operation) * np.array(list(chances.values())))


def test_autoaugments_table_and_frequencies_are_the_papers():
    assert [tuple(map(tuple, policy)) for policy in policies.AUTOAUGMENT] == SUB_POLICIES
    operation, step = drawn(policy='autoaugment')
    assert operation.shape == (DRAWS, 2)
    assert_as_autoaugment(operation, step)


@pytest.mark.parametrize('layers', [1, 3])
def test_either_gives_half_of_the_images_to_each_policy(layers):
    operation, step = drawn(policy='either', randaugment_layers=layers, randaugment_magnitude=5.0)
    # Step 45 tells RandAugment's images: AutoAugment's steps are multiples of ten.
    by_randaugment = step[:, 0] == 45
    assert likely(np.bincount(by_randaugment))
    assert operation.shape == step.shape == (DRAWS, max(layers, 2))
    ours, theirs = operation[by_randaugment], operation[~by_randaugment]
    for layer in range(layers):
        assert np.all(step[by_randaugment, layer] == 45)
        assert_uniform_over_the_14(ours[:, layer])
    assert_as_autoaugment(theirs[:, :2], step[~by_randaugment, :2])
    # The policy with fewer layers does nothing in the others.
    identity = OPERATIONS.index('Identity')
    assert np.all(ours[:, layers:] == identity)
    assert np.all(theirs[:, 2:] == identity)


def test_both_signs_of_an_operation_are_equally_frequent_and_layers_are_independent():
    settings = dict(common.get_config().augment, crop_padding=0, flip='none', policy='randaugment')
    (stage,) = switched_on(settings)
    images = jax.ShapeDtypeStruct((DRAWS, SIDE, SIDE, 3), jnp.uint8)
    rows = jax.jit(lambda key: stage.draw(key, 0, images))(jax.random.key(5))
    chances = collections.Counter()  # of an operation with its sign
    for name in FOURTEEN:
        for row in parameter_table(SIDE, SIDE)[OPERATIONS.index(name), :, 45].tolist():
            chances[tuple(row)] += 1 / 28
    kinds, which, counts = np.unique(np.reshape(rows, (2 * DRAWS, -1)), axis=0, return_inverse=True, return_counts=True)
    assert len(kinds) == 14 + len(SIGNED)
    assert likely(counts, 2 * DRAWS * np.array([chances[tuple(kind)] for kind in kinds]))
    assert independent(*which.reshape(DRAWS, 2).T)
