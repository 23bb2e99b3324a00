"""evaluate, predict, publish and summary, run in this process, and report in one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from dsconv import evaluate, predict, publish, summary
from dsconv.config import ROOT
from dsconv.data.corruptions import CORRUPTIONS
from dsconv.training import robustness, scoring
from tests.commands import run


def test_evaluate_writes_where_it_is_told_and_measures_robustness_when_asked(
    finished_run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(robustness, 'CORRUPTIONS', {'contrast': CORRUPTIONS['contrast']})
    line = [f'--workdir={finished_run}', '--split=validation', '--checkpoint=latest', f'--output={tmp_path / "out"}']
    code, printed, _ = run(evaluate, [*line, '--robustness'], capsys)
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert (report['split'], report['num_examples'], report['checkpoint_step']) == ('validation', 180, 57)
    assert list(report['robustness']['accuracy']) == ['contrast'] and (tmp_path / 'out' / 'corruptions.png').exists()
    assert code == 0 and f'accuracy {100 * report["accuracy"]:.2f} %' in printed
    assert str(tmp_path / 'out' / 'report.md') in printed
    monkeypatch.setattr(scoring, 'report_run', lambda *_, **__: report | {'loss': None})
    assert 'loss infinite' in run(evaluate, line, capsys)[1]


def test_the_report_of_other_data_has_its_name():
    names = {'image_folder:/a/v1.5/': 'v1.5', 'image_folder:.': Path.cwd().name, 'image_table:b/birds.csv': 'birds'}
    for dataset, name in (names | {'cifar10_1/v4': 'cifar10_1-v4'}).items():
        arguments = evaluate.flags().parse_args(['--workdir=run', f'--dataset={dataset}'])
        assert evaluate._output(arguments, Path('run')) == Path('run', f'report-{name}')


def test_a_checkpoint_of_a_file_is_refused(capsys):
    code, _, errors = run(predict, ['--model=model.onnx', '--checkpoint=best', 'a.png'], capsys)
    assert code == 2 and errors.endswith('model.onnx is a file of one checkpoint: leave checkpoint=best out\n')


def test_a_shipped_network_is_found_from_any_directory_whatever_the_name_of_the_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(publish, ['--workdir=pretrained/small', '--output=copy']) == 0
    line = [sys.executable, '-m', 'dsconv.report', '--workdirs', 'pretrained/small', '--output=page\udcff']
    strict = os.environ | {'PYTHONPATH': str(ROOT), 'PYTHONIOENCODING': 'utf-8:strict'}
    done = subprocess.run(line, env=strict, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.splitlines() == [r'page\udcff/report.html', r'page\udcff/report.md']


def test_summary_counts_without_any_data(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    totals = json.loads(run(summary, ['--config=configs/large.py', '--json'], capsys)[1])
    assert (totals['parameters'], totals['thesis_flops']) == (996_362, 1_009_256_960)
    assert totals['flops'] > 2 * totals['macs'] > 1.9e9
    _, table, _ = run(summary, ['--config=configs/small.py'], capsys)
    assert '130,442' in table and '0.0325 G' in table
