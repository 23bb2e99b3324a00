"""evaluate, predict and summary, run in this process."""

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dsconv import evaluate, predict, summary


def parse(module, *line):
    arguments = module.flags().parse_args(list(line))
    arguments.overrides = []
    return arguments


def test_evaluate_writes_where_it_is_told(finished_run, tmp_path, capsys):
    line = [f'--workdir={finished_run}', '--split=validation', '--checkpoint=latest', f'--output={tmp_path / "out"}']
    evaluate.evaluate(parse(evaluate, *line))
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert (report['split'], report['num_examples'], report['checkpoint_step']) == ('validation', 180, 57)
    printed = capsys.readouterr().out
    assert f'accuracy {100 * report["accuracy"]:.2f} %' in printed
    assert str(tmp_path / 'out' / 'report.md') in printed


def test_evaluate_measures_robustness_when_asked(finished_run, tmp_path, monkeypatch):
    from dsconv.data.corruptions import CORRUPTIONS
    from dsconv.training import robustness

    monkeypatch.setattr(robustness, 'CORRUPTIONS', {'contrast': CORRUPTIONS['contrast']})
    evaluate.evaluate(parse(evaluate, f'--workdir={finished_run}', f'--output={tmp_path}', '--robustness'))
    assert list(json.loads((tmp_path / 'report.json').read_text())['robustness']['accuracy']) == ['contrast']
    assert (tmp_path / 'corruptions.png').exists()


def test_evaluate_says_that_a_loss_is_infinite(finished_run, tmp_path, monkeypatch, capsys):
    from dsconv.training import scoring

    infinite = json.loads((finished_run / 'report' / 'report.json').read_text()) | {'loss': None}
    monkeypatch.setattr(scoring, 'report_run', lambda *_, **__: infinite)
    evaluate.evaluate(parse(evaluate, f'--workdir={finished_run}', f'--output={tmp_path}'))
    assert 'loss infinite' in capsys.readouterr().out


@pytest.fixture
def pictures(tmp_path):
    """Two digits, as a grey and as a colour PNG, larger than the network takes."""
    paths = []
    for index, mode in ((0, 'L'), (1, 'RGB')):
        pixels = np.uint8(np.round(load_digits().images[index] * 255 / 16))
        path = tmp_path / f'{index} ü.png'
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST).convert(mode).save(path)
        paths.append(str(path))
    return paths


def test_predict_names_classes_and_probabilities(finished_run, pictures, capsys):
    predict.predict(parse(predict, f'--workdir={finished_run}', '--json', '--top=10', *pictures))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line['picture'] for line in lines] == pictures
    for line in lines:
        assert set(line['classes']) == set('0123456789')
        assert sum(line['classes'].values()) == pytest.approx(1, abs=1e-4)
        assert list(line['classes'].values()) == sorted(line['classes'].values(), reverse=True)
    predict.predict(parse(predict, f'--workdir={finished_run}', '--top=2', pictures[0]))
    best = next(iter(lines[0]['classes']))
    printed = capsys.readouterr().out
    assert printed.startswith(f'{pictures[0]}: {best} ')
    assert printed.count('%') == 2


def test_summary_counts_without_any_data(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    summary.summary(parse(summary, '--config=configs/large.py', '--json'))
    totals = json.loads(capsys.readouterr().out)
    assert (totals['parameters'], totals['thesis_flops']) == (996_362, 1_009_256_960)
    assert totals['flops'] > 2 * totals['macs'] > 1.9e9
    summary.summary(parse(summary, '--config=configs/small.py'))
    table = capsys.readouterr().out
    assert '130,442' in table
    assert '0.0325 G' in table
