import json

from dsconv import compare
from dsconv.studies import comparison
from tests.commands import DIGITS, run
from tests.studies.grid import Runs


def test_networks_are_trained_in_turn_and_measured_first(tmp_path, monkeypatch, capsys):
    runs = Runs(monkeypatch, {('dsconv', 0): 0.8, ('resnet8', 0): 0.9})

    def measure(cells):
        assert not runs.trained
        times = {cell.variant: {'latency_one': 0.001, 'latency_batch': 0.02} for cell in cells}
        return {'latency': times, 'devices': '1 × cpu', 'cores': 2, 'cpu': 'of some kind'}

    monkeypatch.setattr(comparison, 'measure', measure)
    line = [*DIGITS, '--models=dsconv,resnet8', '--seeds=0', f'--output={tmp_path / "out"}']
    code, output, _ = run(compare, line, capsys)
    assert code == 0 and 'Best is resnet8: +10.00 points against dsconv (one seed' in output
    assert runs.trained == [('dsconv', 0), ('resnet8', 0)]
    result = json.loads((tmp_path / 'out' / 'study.json').read_text())
    assert result['latency']['resnet8'] == {'latency_one': 0.001, 'latency_batch': 0.02}
    assert '--config.model.name=resnet8' in result['cells'][1]['command']
    assert {file.name for file in (tmp_path / 'out').iterdir()} == {'cells', 'study.json', 'study.md', 'study.png'}
