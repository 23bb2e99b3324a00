import json

import pytest

from dsconv import cli, compare
from dsconv.studies import comparison
from tests.studies.grid import FLAGS, Runs


def run(line):
    try:
        cli.run(compare.flags(), compare.compare, arguments=line)
    except SystemExit as end:
        return end.code
    return 0


def test_networks_are_trained_in_turn_and_measured_first(tmp_path, monkeypatch, capsys):
    runs = Runs(monkeypatch, {('dsconv', 0): 0.8, ('resnet8', 0): 0.9})

    def measure(cells):
        assert not runs.trained
        times = {cell.variant: {'latency_one': 0.001, 'latency_batch': 0.02} for cell in cells}
        return {'latency': times, 'cores': 2, 'cpu': 'of some kind'}

    monkeypatch.setattr(comparison, 'measure', measure)
    line = [*FLAGS, '--models=dsconv,resnet8', '--seeds=0', f'--output={tmp_path / "out"}']
    assert run(line) == 0
    assert runs.trained == [('dsconv', 0), ('resnet8', 0)]
    assert 'Best is resnet8: +10.00 points against dsconv (one seed' in capsys.readouterr().out
    result = json.loads((tmp_path / 'out' / 'study.json').read_text())
    assert result['latency']['resnet8'] == {'latency_one': 0.001, 'latency_batch': 0.02}
    assert '--config.model.name=resnet8' in result['cells'][1]['command']
    assert {file.name for file in (tmp_path / 'out').iterdir()} == {'cells', 'study.json', 'study.md', 'study.png'}


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--models=dsconv,resnet9'], "--models: 'resnet9' is not one of dsconv, "),
        (['--models=dsconv'], '--models=dsconv is one network alone'),
    ],
)
def test_wrong_flags(flags, message, capsys):
    assert run(['--config=configs/digits.py', '--dry-run', *flags]) == 2
    errors = capsys.readouterr().err
    assert errors.count('\n') == 1
    assert errors.startswith(f'python -m dsconv.compare: error: {message}')
