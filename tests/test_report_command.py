"""python -m dsconv.report, run in this process."""

import json
import shutil

import pytest

from dsconv import cli, report
from dsconv.data.corruptions import CORRUPTIONS
from dsconv.training import robustness
from dsconv.training.scoring import report_run


@pytest.fixture
def workdir(finished_run, tmp_path):
    """A copy of a finished run, to be changed."""
    return shutil.copytree(finished_run, tmp_path / 'run', copy_function=shutil.copyfile)


def run(monkeypatch, *line):
    monkeypatch.setattr(cli, 'prepare_process', lambda: None)
    cli.run(report.flags(), report.report, list(map(str, line)))


def test_a_run_without_a_report_is_scored_first(workdir, tmp_path, monkeypatch, capsys):
    before = json.loads((workdir / 'report' / 'report.json').read_text())
    shutil.rmtree(workdir / 'report')
    run(monkeypatch, '--workdirs', workdir, f'--output={tmp_path / "page"}')
    after = json.loads((workdir / 'report' / 'report.json').read_text())
    assert after.pop('command') and before.pop('command')
    assert after == before
    page = (tmp_path / 'page' / 'report.html').read_text(encoding='utf-8')
    assert f'{100 * after["accuracy"]:.2f} %' in page
    assert str(workdir) in page
    assert str(tmp_path / 'page' / 'report.html') in capsys.readouterr().out


def test_robustness_is_measured_once(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, 'CORRUPTIONS', {'contrast': CORRUPTIONS['contrast']})
    line = ['--workdirs', workdir, f'--output={tmp_path / "page"}', '--robustness']
    run(monkeypatch, *line)
    file = workdir / 'report' / 'report.json'
    scores = json.loads(file.read_text())['robustness']
    assert (workdir / 'report' / 'corruptions.png').exists()
    assert f'{100 * scores["mean_accuracy"]:.2f} %' in (tmp_path / 'page' / 'report.md').read_text(encoding='utf-8')
    written = file.stat().st_mtime_ns
    run(monkeypatch, *line)
    assert file.stat().st_mtime_ns == written


def test_a_report_is_completed_for_its_own_split_and_checkpoint(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, 'CORRUPTIONS', {'contrast': CORRUPTIONS['contrast']})
    file = workdir / 'report' / 'report.json'
    before = report_run(workdir, 'validation', '38')
    run(monkeypatch, '--workdirs', workdir, f'--output={tmp_path / "page"}', '--robustness')
    after = json.loads(file.read_text())
    assert 'robustness' in after
    assert [after[key] for key in ('split', 'checkpoint_step', 'accuracy')] == [
        before[key] for key in ('split', 'checkpoint_step', 'accuracy')
    ]
    shutil.rmtree(workdir / 'checkpoints' / '38')
    file.write_text(json.dumps({key: value for key, value in after.items() if key != 'robustness'}))
    run(monkeypatch, '--workdirs', workdir, f'--output={tmp_path / "page"}', '--robustness')
    assert json.loads(file.read_text())['split'] == 'test'


def test_what_is_wrong_is_said_in_a_line(finished_run, tmp_path, monkeypatch, capsys):
    (tmp_path / 'empty').mkdir()
    damaged = tmp_path / 'damaged'
    shutil.copytree(finished_run, damaged, ignore=shutil.ignore_patterns('checkpoints'))
    (damaged / 'report' / 'report.json').write_text('{"accuracy"')
    page = f'--output={tmp_path / "page"}'
    for line, message in (
        (['--workdirs', page], 'expected at least one argument'),
        (['--workdirs', tmp_path / 'empty', page], 'is not the workdir of a run'),
        (['--workdirs', finished_run, finished_run / '..' / finished_run.name, page], 'is named twice'),
        (['--workdirs', damaged, page], 'report.json is damaged'),
        (['--workdirs', finished_run, f'--output={finished_run / "report"}'], "run's own report"),
    ):
        with pytest.raises(SystemExit) as ended:
            run(monkeypatch, *line)
        error = capsys.readouterr().err
        assert ended.value.code == 2
        assert message in error and error.count('\n') == 1, error
    assert not (tmp_path / 'page').exists()
