"""A run of version 0.1 on digits (Muon, EMA), stopped at step 38 of 57, is resumed by this version."""

import json
import tarfile
from pathlib import Path

import numpy as np

from dsconv import config as configuration
from dsconv.training.loop import train


def test_it_ends_as_the_old_version_would_have_ended_it(tmp_path):
    with tarfile.open(Path(__file__).parent / 'old_run.tar.gz') as archive:
        archive.extractall(tmp_path, filter='data')
    assert train(configuration.load(str(tmp_path / 'config.json')), tmp_path)

    resumed, undisturbed = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in ('metrics.jsonl', 'undisturbed.jsonl')
    )
    assert [line['step'] for line in resumed] == [line['step'] for line in undisturbed]
    for name in ('loss', 'accuracy', 'grad_norm', 'learning_rate'):
        found, expected = ([line[name] for line in lines if name in line] for lines in (resumed, undisturbed))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4, err_msg=name)
