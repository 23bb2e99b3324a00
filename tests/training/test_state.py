import numpy as np
import pytest

from dsconv.training.evaluation import scored_variables
from dsconv.training.state import update_average
from tests.conftest import tiny_config


@pytest.mark.parametrize('steps', [1, 50])
def test_the_debiased_average_is_the_weighted_mean_of_what_it_saw(steps):
    seen = np.random.default_rng(0).normal(size=steps)
    average = {'kernel': np.float64(0)}
    for value in seen:
        average = update_average(average, {'kernel': value}, 0.9)
    weights = 0.9 ** np.arange(steps)[::-1]
    expected = np.average(seen, weights=weights)
    config = tiny_config(optimizer__ema_decay=0.9)
    assert scored_variables(config, None, average, steps)['kernel'] == pytest.approx(expected)
