import numpy as np

from dsconv.config_checks import resolve
from dsconv.studies import comparison
from dsconv.studies.cells import open_once
from tests.conftest import tiny_config


def test_a_network_is_measured_on_one_image_and_on_a_batch_in_turn(monkeypatch):
    rows = []

    def seconds_per_call(call, seconds):
        logits = call()
        assert logits.shape[1] == 10
        assert np.isfinite(logits).all()
        rows.append(len(logits))
        return len(rows)

    monkeypatch.setattr(comparison, 'seconds_per_call', seconds_per_call)
    config = tiny_config()
    config = resolve(config, open_once(config.dataset))
    taken = comparison.measure_latency({'a': config}, rounds=3)
    assert rows == [1, comparison.BATCH] * 3
    assert taken == {'a': {'latency_one': 3, 'latency_batch': 4}}  # the median round is the second


def test_a_network_that_refuses_the_images_is_left_out(caplog):
    small, big = tiny_config(), tiny_config(model__name='alexnet')
    configs = {'big': resolve(big, open_once(big.dataset)), 'small': resolve(small, open_once(small.dataset))}
    assert list(comparison.measure_latency(configs, rounds=1, seconds=0)) == ['small']
    assert 'big is not timed: images of 8×8 are too small' in caplog.text
