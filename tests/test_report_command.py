"""python -m dsconv.report, run in this process."""

import json
import shutil
from pathlib import Path

import pytest

from dsconv import config as configuration
from dsconv import report
from dsconv.data.corruptions import CORRUPTIONS
from dsconv.training import robustness, scoring
from dsconv.training.scoring import report_run
from tests.commands import run
from tests.conftest import tiny_config


@pytest.fixture
def workdir(finished_run, tmp_path):
    """A copy of a finished run, to be changed."""
    return shutil.copytree(finished_run, tmp_path / 'run', copy_function=shutil.copyfile)


def test_a_run_without_a_report_is_scored_first(workdir, tmp_path, capsys):
    before = json.loads((workdir / 'report' / 'report.json').read_text())
    shutil.rmtree(workdir / 'report')
    assert run(report, ['--workdirs', workdir, f'--output={tmp_path / "page"}']) == 0
    after = json.loads((workdir / 'report' / 'report.json').read_text())
    assert after.pop('command') and before.pop('command')
    assert after == before
    page = (tmp_path / 'page' / 'report.html').read_text(encoding='utf-8')
    assert f'{100 * after["accuracy"]:.2f} %' in page and str(workdir) in page
    assert str(tmp_path / 'page' / 'report.html') in capsys.readouterr().out


def test_robustness_is_measured_once_for_the_split_and_checkpoint_of_the_report(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, 'CORRUPTIONS', {'contrast': CORRUPTIONS['contrast']})
    line = ['--workdirs', workdir, f'--output={tmp_path / "page"}', '--robustness']
    file = workdir / 'report' / 'report.json'
    before = report_run(workdir, 'validation', '38')
    assert run(report, line) == 0
    after = json.loads(file.read_text())
    assert {key: after[key] for key in ('split', 'checkpoint_step', 'accuracy')}.items() <= before.items()
    assert (workdir / 'report' / 'corruptions.png').exists()
    mean = f'{100 * after["robustness"]["mean_accuracy"]:.2f} %'
    assert mean in (tmp_path / 'page' / 'report.md').read_text(encoding='utf-8')
    written = file.stat().st_mtime_ns
    assert run(report, line) == 0
    assert file.stat().st_mtime_ns == written
    shutil.rmtree(workdir / 'checkpoints' / '38')
    file.write_text(json.dumps({key: value for key, value in after.items() if key != 'robustness'}))
    assert run(report, line) == 0
    assert json.loads(file.read_text())['split'] == 'test'


def test_nothing_is_written_into_a_published_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workdir, output = Path('net'), Path('runs/published/net')
    configuration.save_run(workdir, tiny_config(), {'published_step': 7})
    asked = []
    monkeypatch.setattr(scoring, 'report_run', lambda *given, **_: asked.append(given))
    assert report.complete(workdir, robustness=False) == output
    assert asked == [(workdir, 'test', None, output / 'report')]


def test_what_is_wrong_is_said_in_a_line(finished_run, tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    damaged = tmp_path / 'damaged'
    shutil.copytree(finished_run, damaged, ignore=shutil.ignore_patterns('checkpoints'))
    (damaged / 'report' / 'report.json').write_text('{"accuracy"')
    page = f'--output={tmp_path / "page"}'
    for line, message in (
        (['--workdirs', tmp_path / 'empty', page], 'is not the workdir of a run'),
        (['--workdirs', finished_run, finished_run / '..' / finished_run.name, page], 'is named twice'),
        (['--workdirs', damaged, page], 'report.json is damaged'),
        (['--workdirs', finished_run, f'--output={finished_run / "report"}'], "run's own report"),
    ):
        code, _, errors = run(report, line, capsys)
        assert (code, errors.count('\n')) == (2, 1) and message in errors, errors
    assert not (tmp_path / 'page').exists()
