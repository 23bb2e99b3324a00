"""The whole command with real, tiny runs, and what a person types wrong."""

import json

import pytest

from dsconv import ablate, cli
from dsconv.reporting import read_metrics
from tests.studies.grid import FLAGS

STUDY = """
title = 'Patches'
[variants.fitting]
[variants.'not fitting']
model.patch_size = 3
"""


def run(line):
    try:
        cli.run(ablate.flags(), ablate.ablate, arguments=line)
    except SystemExit as end:
        return end.code
    return 0


def test_a_real_run_and_one_that_the_data_refuses(tmp_path, capsys):
    (tmp_path / 'patches.toml').write_text(STUDY)
    shorter = ['--config.epochs=1', '--config.schedule.warmup_epochs=0.25', '--config.log.every_steps=3']
    line = [*FLAGS, *shorter, f'--study={tmp_path / "patches.toml"}', '--seeds=3', f'--output={tmp_path / "out"}']
    assert run(line) == 1
    assert 'failed: not fitting, seed 3: model.patch_size=3 does not divide' in capsys.readouterr().out
    result = json.loads((tmp_path / 'out' / 'study.json').read_text())
    fitting, refused = result['cells']
    assert (fitting['state'], refused['state']) == ('finished', 'failed')
    workdir = tmp_path / 'out' / 'cells' / 'fitting' / 'seed-3'
    report = json.loads((workdir / 'report' / 'report.json').read_text())
    assert (report['split'], report['accuracy']) == ('validation', pytest.approx(fitting['accuracy']))
    assert fitting['accuracy'] == read_metrics(workdir)[-1]['accuracy']
    assert fitting['images_per_second'] > 0
    before = (workdir / 'metrics.jsonl').stat().st_mtime_ns
    assert run([*line, '--shard=1/2']) == 0  # the one that is finished
    assert (workdir / 'metrics.jsonl').stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], 'the following arguments are required: --study'),
        (['--study=kernels'], '--study=kernels: there is no such study, nor file; did you mean kernel_size?'),
        (['--study=dim', '--shard=5/4'], "argument --shard: '5/4' must be i/n, from 1/n to n/n, as 2/4"),
        (['--study=dim', '--seeds=a'], "argument --seeds: 'a' must be whole numbers below 2³², as 0,1"),
        (['--study=dim', '--output='], 'argument --output: must not be empty'),
        (['--study=dim', '--config.seed=4'], '--config.seed=4: --seeds says which'),
    ],
)
def test_wrong_flags(flags, message, capsys):
    assert run(['--config=configs/digits.py', '--dry-run', *flags]) == 2
    errors = capsys.readouterr().err
    assert errors.count('\n') == 1
    assert errors.startswith(f'python -m dsconv.ablate: error: {message}')
