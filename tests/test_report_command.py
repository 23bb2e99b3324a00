"""Tests python -m dsconv.report in this process."""

import json
import shutil
from pathlib import Path

import pytest

from dsconv import config as configuration
from dsconv import report
from dsconv.data.corruptions import CORRUPTIONS
from dsconv.errors import InputError
from dsconv.training import robustness, scoring
from dsconv.training.checksums import identity
from tests.commands import report_of, run
from tests.conftest import tiny_config


def test_a_run_without_a_report_is_scored_first(finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, 'CORRUPTIONS', {'contrast': CORRUPTIONS['contrast']})
    workdir = shutil.copytree(finished_run, tmp_path / 'run', copy_function=shutil.copyfile)
    before = json.loads((workdir / 'report' / 'report.json').read_text())
    shutil.rmtree(workdir / 'report')
    assert run(report, ['--workdirs', workdir, f'--output={tmp_path / "page"}', '--robustness']) == 0
    after = json.loads((workdir / 'report' / 'report.json').read_text())
    assert after.pop('command') and before.pop('command')
    corrupted = after.pop('robustness')
    assert after == before
    assert list(corrupted['accuracy']) == ['contrast'] and (workdir / 'report' / 'corruptions.png').exists()
    page = (tmp_path / 'page' / 'report.html').read_text(encoding='utf-8')
    for accuracy in (after['accuracy'], corrupted['mean_accuracy']):
        assert f'{100 * accuracy:.2f} %' in page


@pytest.fixture
def asked(monkeypatch):
    """The calls of `report_run`: (workdir, split, checkpoint, output, robustness, drawn examples) of each."""
    calls = []
    monkeypatch.setattr(scoring, 'report_run', lambda *given, **named: calls.append((*given, *named.values())))
    return calls


def test_robustness_is_measured_and_examples_drawn_for_the_split_and_checkpoint_of_the_report(tmp_path, asked):
    configuration.save_run(tmp_path, tiny_config(), {})
    (tmp_path / 'checkpoints' / '38').mkdir(parents=True)
    old = report_of(split='validation', checkpoint_step=38, drawn_examples=40)
    robustness = {'source': 'made here', 'mean_accuracy': 0.5, 'accuracy': {'jpeg': [0.5]}}
    (tmp_path / 'report').mkdir()
    for there, is_asked, scored in (
        (old, False, []),
        (old, True, [('validation', '38', 40)]),
        (old | {'robustness': robustness}, True, []),
        (old | {'checkpoint_step': 57}, True, [('test', None, 0)]),  # this checkpoint no longer exists
    ):
        (tmp_path / 'report' / 'report.json').write_text(json.dumps(there))
        assert report.complete(tmp_path, is_asked) == tmp_path
        assert asked == [(tmp_path, *which, tmp_path / 'report', True, drawn) for *which, drawn in scored]
        asked.clear()


def test_nothing_is_written_into_a_published_network(tmp_path, monkeypatch, asked):
    monkeypatch.chdir(tmp_path)
    workdir, output = Path('net'), Path('runs/published/net')
    configuration.save_run(workdir, tiny_config(), {'published_step': 7})
    assert report.complete(workdir, robustness=False) == output
    assert asked == [(workdir, 'test', None, output / 'report', False, 0)]
    old = report_of(split='validation', checkpoint_step=7)
    (output / 'report').mkdir(parents=True)
    (output / 'report' / 'report.json').write_text(json.dumps(old))
    assert report.complete(workdir, robustness=False) == output and len(asked) == 2  # the report is of another network
    (workdir / 'checkpoints' / '7').mkdir(parents=True)
    assert report.complete(workdir, robustness=False) == output and len(asked) == 2
    configuration.save_run(Path('v2/net'), tiny_config(), {'published_step': 7})
    with pytest.raises(InputError, match='has the name of another published network'):
        report.check([workdir, Path('v2/net')], tmp_path / 'page')


def test_a_report_of_another_network_of_the_same_name_and_step_is_not_taken_for_its_own(tmp_path, monkeypatch, asked):
    monkeypatch.chdir(tmp_path)
    for number, workdir in enumerate((Path('v1/net'), Path('v2/net'))):
        configuration.save_run(workdir, tiny_config(), {'published_step': 7})
        checksums = workdir / 'checkpoints' / '7' / 'checksums'
        checksums.mkdir(parents=True)
        (checksums / 'metadata').write_text(json.dumps({'kernel': number}))
    output = Path('runs/published/net')
    (output / 'report').mkdir(parents=True)
    scored = report_of(split='test', checkpoint_step=7, network=identity(Path('v1/net/checkpoints/7')))
    (output / 'report' / 'report.json').write_text(json.dumps(scored))
    assert report.complete(Path('v1/net'), robustness=False) == output and not asked
    assert report.complete(Path('v2/net'), robustness=False) == output
    assert asked == [(Path('v2/net'), 'test', None, output / 'report', False, 0)]
