"""Tests the whole command with a real, tiny run."""

import json

import pytest

from dsconv import ablate
from dsconv.reporting import read_metrics
from tests.commands import DIGITS, run

STUDY = "title = 'Patches'\n[variants.fitting]\n[variants.'not fitting']\nmodel.patch_size = 3\n"


def test_a_real_run_and_one_that_the_data_refuses(tmp_path, capsys):
    (tmp_path / 'patches.toml').write_text(STUDY)
    shorter = ['--config.epochs=1', '--config.schedule.warmup_epochs=0.25', '--config.log.every_steps=3']
    line = [*DIGITS, *shorter, f'--study={tmp_path / "patches.toml"}', '--seeds=3', f'--output={tmp_path / "out"}']
    assert run(ablate, line) == 1
    assert 'failed: not fitting, seed 3: model.patch_size=3 does not divide' in capsys.readouterr().out
    fitting, refused = json.loads((tmp_path / 'out' / 'study.json').read_text())['cells']
    assert (fitting['state'], refused['state']) == ('finished', 'failed') and fitting['images_per_second'] > 0
    workdir = tmp_path / 'out' / 'cells' / 'fitting' / 'seed-3'
    report = json.loads((workdir / 'report' / 'report.json').read_text())
    assert (report['split'], report['accuracy']) == ('validation', pytest.approx(fitting['accuracy']))
    assert fitting['accuracy'] == read_metrics(workdir)[-1]['accuracy']
    before = (workdir / 'metrics.jsonl').stat().st_mtime_ns
    assert run(ablate, [*line, '--shard=1/2']) == 0  # only the finished run
    assert (workdir / 'metrics.jsonl').stat().st_mtime_ns == before
