"""The trials of `benchmarks.gpu` without their training, which takes a GPU."""

import itertools
import json

import pytest

from benchmarks import feed, gpu
from dsconv.training.setup import build_training


@pytest.mark.parametrize('trial', gpu.TRIALS, ids=lambda trial: trial.name)
def test_the_config_of_a_trial_is_valid(trial):
    config = gpu.config_of(trial, rehearse=False)
    asked = dict(word.split('=') for word in (*gpu.STANDARD, *trial.overrides))
    assert config.steps_per_dispatch == int(asked['steps_per_dispatch'])
    assert gpu.config_of(trial, rehearse=True).model.dim == 8


@pytest.mark.parametrize(
    ('device', 'bandwidth'), [('NVIDIA H100 PCIe', 2.0), ('NVIDIA A100-SXM4-40GB', 1.56), ('NVIDIA L40S', None)]
)
def test_the_bandwidth_is_that_of_a_card_whose_words_are_all_in_the_name(device, bandwidth):
    assert gpu.bandwidth_of(device) == bandwidth


def test_all_dispatches_are_of_one_length(monkeypatch):
    monkeypatch.setattr(feed, 'MEMORY_IMAGES', 40)  # an epoch of 5 steps
    config = gpu.config_of(gpu.TRIALS[0], rehearse=True)
    split = feed.memory_split(config)
    stream = gpu.equal_dispatches(config, build_training(config, split.num_examples), split)
    lengths = [labels.shape for _, (_, labels) in itertools.islice(stream, 4)]
    assert lengths == [(2, 8)] * 4


def test_a_trial_that_fails_leaves_the_others(tmp_path, monkeypatch, capsys):
    def measure(trial, rehearse):
        if trial.torch:
            raise RuntimeError('no\nmemory')
        return {'images_per_second': 2e5, 'spread': [1e5, 3e5], 'roofline_share': 0.5}

    monkeypatch.setattr(gpu, 'measure', measure)
    gpu.measure_all(gpu.flags().parse_args([f'--output={tmp_path / "new" / "gpu.json"}']))
    trials = json.loads((tmp_path / 'new' / 'gpu.json').read_text())['trials']
    assert [trial['name'] for trial in trials] == [trial.name for trial in gpu.TRIALS]
    assert {trial.get('error') for trial in trials if trial['torch']} == {'RuntimeError: no memory'}
    assert 'small: 200,000 images/s, 50 % of what the memory allows' in capsys.readouterr().out
