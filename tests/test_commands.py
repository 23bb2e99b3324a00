"""Tests evaluate, publish and summary in this process, and report in a separate one."""

import json
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from dsconv import config as configuration
from dsconv import evaluate, publish, summary
from dsconv.training import scoring
from tests.commands import python, run
from tests.conftest import tiny_config


def test_evaluate_passes_its_flags_on_and_prints_the_scores(monkeypatch, capsys):
    report = {'dataset': 'digits', 'split': 'validation', 'num_examples': 1180, 'checkpoint_step': 57, 'loss': None}
    report |= {'accuracy': 0.5, 'top5_accuracy': 0.9, 'class_names': list('0123456789')}
    report_run = create_autospec(scoring.report_run, return_value=report)
    monkeypatch.setattr(scoring, 'report_run', report_run)
    line = ['--workdir=run', '--split=validation', '--checkpoint=latest', '--output=out', '--robustness']
    assert run(evaluate, [*line, '--examples=4'], capsys) == (
        0,
        'digits validation, 1,180 images, checkpoint of step 57: accuracy 50.00 %, top-5 90.00 %, loss infinite\n'
        'out/report.md\n',
        '',
    )
    given = (Path('run'), 'validation', 'latest', Path('out'), True, 4)
    report_run.assert_called_once_with(*given, calibrate=False, dataset=None, predictions=False, where=[], tta=False)


def test_a_default_output_that_cannot_be_written_is_refused_before_scoring(tmp_path, monkeypatch, capsys):
    configuration.save_run(tmp_path, tiny_config(), {})
    (tmp_path / 'report').touch()
    monkeypatch.setattr(scoring, 'report_run', lambda *_, **__: pytest.fail('scored'))
    code, _, errors = run(evaluate, [f'--workdir={tmp_path}'], capsys)
    assert code == 2 and 'report is not a directory' in errors


def test_the_report_of_other_data_has_its_name(monkeypatch):
    monkeypatch.setattr(scoring, 'report_run', lambda *_, **__: {})
    names = {'image_folder:/a/v1.5/': 'v1.5', 'image_folder:.': Path.cwd().name, 'image_table:b/birds.csv': 'birds'}
    names |= {'image_folder:a/test': 'a-test', 'image_table:b/test.csv.gz': 'b-test'}
    for dataset, name in (names | {'cifar10_1/v4': 'cifar10_1-v4'}).items():
        arguments = evaluate.flags().parse_args(['--workdir=run', f'--dataset={dataset}'])
        assert evaluate._of_run(arguments, {}) == ({}, Path('run', f'report-{name}'))
        arguments.split = 'train'  # the report of a split has its own directory
        assert evaluate._of_run(arguments, {}) == ({}, Path('run', f'report-{name}_train'))
        arguments.tta = True
        assert evaluate._of_run(arguments, {}) == ({}, Path('run', f'report-{name}_train_tta'))


def test_a_shipped_network_is_found_from_any_directory_whatever_the_name_of_the_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(publish, ['--workdir=pretrained/small', '--output=copy']) == 0
    line = ['-m', 'dsconv.report', '--workdirs', 'pretrained/small', '--output=page\udcff']
    done = python(*line, cwd=tmp_path, PYTHONIOENCODING='utf-8:strict')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.splitlines() == [r'page\udcff/report.html', r'page\udcff/report.md']


def test_summary_counts_without_any_data(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    totals = json.loads(run(summary, ['--config=configs/large.py', '--json'], capsys)[1])
    assert (totals['parameters'], totals['thesis_flops']) == (996_362, 1_009_256_960)
    assert totals['flops'] > 2 * totals['macs'] > 1.9e9
    _, table, _ = run(summary, ['--config=configs/small.py'], capsys)
    assert '130,442' in table and '0.0325 G' in table
