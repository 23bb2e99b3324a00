import contextlib
import json
import types

import numpy as np
import pytest

from benchmarks.augment import comparison, pillow_peer
from dsconv import config as configuration
from dsconv.config_checks import resolve_without_data
from dsconv.errors import InputError
from tests.conftest import tiny_config


def small(*overrides):
    return configuration.load('configs/small.py', overrides)


def test_a_tiny_step_is_measured_beside_its_augmentation():
    config = tiny_config(dataset__image_size=8, batch_size=8, model__depth=0)
    result = json.loads(json.dumps(comparison.measure(config, peers=(), rounds=2, seconds=0)))
    step = result['step']
    assert len(step['augment_seconds']) == len(step['step_seconds']) == 2
    assert min(step['augment_seconds'] + step['step_seconds'] + [step['share']]) > 0
    assert (result['devices'], result['rounds'], result['peers']) == ('8 × cpu', 2, [])
    text = comparison.as_text(result)
    assert text.startswith('Augmentation alone: ') and text.count('\n') == 0


def test_the_table_has_ratios_and_what_is_missing(monkeypatch):
    started = []

    @contextlib.contextmanager
    def process(module, settings, environment):
        """Twice as slow as the one before it; the third of them is not installed."""
        assert (environment['OMP_NUM_THREADS'], settings['augment']['clean_tail_epochs']) == ('1', 0)
        answers = dict.fromkeys([('augment', 0), ('augment', 0.5)], {'seconds': 512 / 1000 * 2 ** len(started)})
        started.append((module.removeprefix('benchmarks.augment.'), settings['variant']))
        missing = 'torch' if len(started) == 3 else None
        yield types.SimpleNamespace(missing=missing, call=lambda function, seconds: answers[function, seconds])

    monkeypatch.setattr(comparison, 'Process', process)
    config = resolve_without_data(small('augment.clean_tail_epochs=5'))
    assert (config.dataset.image_size, config.augment.flip, config.dataset.mean) == (32, 'random', (0.5, 0.5, 0.5))
    rows = comparison.race(config, ('torchvision', 'pillow'), rounds=3, seconds=0.5)
    torchvision = [('torchvision_peer', 'by image'), ('torchvision_peer', 'by batch')]
    assert started == [('dsconv_peer', ''), ('pillow_peer', ''), *torchvision]
    assert [row['name'] for row in rows] == ['dsconv', 'pillow', 'torchvision, by image', 'torchvision, by batch']
    assert [row.get('ratio') for row in rows] == [1, 2, None, 8]
    assert rows[1]['images_per_second'] == [500, 500, 500]
    result = {'rounds': 3, 'batch_size': 512, 'devices': '1 × cpu', 'cores': 2, 'peers': rows}
    text = comparison.as_text(result | {'step': {'share': 0.01, 'augment_seconds': [0.01], 'step_seconds': [1]}})
    assert 'not installed (torch): pip install -r benchmarks/requirements.txt' in text and '1.00 % of the time' in text


def test_ours_and_pillow_really_run_and_torchvision_where_it_is_installed():
    config = resolve_without_data(small('batch_size=8'))
    ours, pillow, *others = comparison.race(config, ('pillow', 'torchvision'), rounds=2, seconds=0.001)
    assert min(ours['images_per_second'] + pillow['images_per_second']) > 0
    assert all(min(row['images_per_second']) > 0 for row in others if 'missing' not in row)


def test_another_policy_than_the_peers_have_is_refused():
    comparison.check_same_policy(resolve_without_data(small('augment.crop_padding=2', 'augment.fill=0')))
    with pytest.raises(InputError, match='dataset.channels: 3 → 1'):
        comparison.measure(small('dataset.channels=1'), ('pillow',))


def test_pillow_draws_both_policies():
    # Its operations are what tests/augment compares dsconv's with.
    augment = configuration.defaults().augment.to_dict()
    drawn = pillow_peer.draw(np.random.default_rng(0), 5000, augment)
    operations = [operation for image in drawn for operation in image]
    assert {name for name, _ in operations} == set(pillow_peer.operations(32, 32, 128))
    # RandAugment does two operations, AutoAugment the mean of its probabilities' sums.
    assert len(operations) / len(drawn) == pytest.approx((2 + 1.118) / 2, abs=0.05)
    assert min(m for _, m in operations) < 0 <= min(m for name, m in operations if name not in pillow_peer.SIGNED)
