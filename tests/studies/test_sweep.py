"""A whole study by the command, its runs replaced."""

import json
import math

import pytest

from dsconv import ablate
from tests.commands import DIGITS, run
from tests.studies.grid import STUDY, Runs

ALL = [(variant, seed) for seed in (0, 1) for variant in ('first', 'wide', 'no warm-up')]


@pytest.fixture
def runs(monkeypatch):
    return Runs(monkeypatch, {key: 0.5 + 0.01 * number for number, key in enumerate(ALL)})


@pytest.fixture
def study(runs, capsys, tmp_path):
    """Runs the command with flags; returns its exit code, stdout, stderr, what was trained and study.json."""
    (tmp_path / 'width.toml').write_text(STUDY)
    line = [*DIGITS, f'--study={tmp_path / "width.toml"}', '--seeds=0,1', f'--output={tmp_path / "out"}']

    def command(*flags):
        runs.trained, file = [], tmp_path / 'out' / 'study.json'
        said = run(ablate, [*line, *flags], capsys)
        return *said, runs.trained, json.loads(file.read_text()) if file.exists() else None

    return command


def test_a_study_leaves_a_table_a_page_and_a_picture_also_where_it_was_interrupted(study, runs, tmp_path):
    runs.outcomes['no warm-up', 1] = KeyboardInterrupt()
    code, _, _, trained, result = study()
    assert (code, trained) == (130, ALL)
    assert [found['runs'] for found in result['variants'].values()] == [2, 2, 1]
    runs.outcomes['no warm-up', 1] = 0.55
    (tmp_path / 'out' / 'study.json').write_text('[' * 100_000)
    code, output, _, trained, result = study()
    assert (code, trained) == (0, ALL[-1:])
    assert (result['study'], result['title'], result['seeds']) == ('width', 'How wide', [0, 1])
    assert [(one['variant'], one['seed']) for one in result['cells']] == ALL
    assert result['variants']['wide']['difference'] == pytest.approx(0.01)
    means = [found['mean'] for found in result['variants'].values()]
    assert result['standard_error'] == pytest.approx(
        max(math.sqrt(mean * (1 - mean) / 180) for mean in means), rel=0.02
    )
    assert result['variants']['wide']['macs'] > 2 * result['variants']['first']['macs']
    page = (tmp_path / 'out' / 'study.md').read_text()
    for text in ('How wide', result['sentence'], '180 validation images'):
        assert text in output and text in page
    assert f'```\n{result["command"]}\n```' in page
    assert (tmp_path / 'out' / 'study.png').read_bytes().startswith(b'\x89PNG')


def test_failed_runs_end_in_exit_code_1_once_all_is_written(study, runs, tmp_path):
    runs.outcomes['wide', 0] = ValueError('out of *memory* for <lambda>')
    code, output, errors, trained, result = study('--shard=2/2')
    assert (code, trained) == (1, ALL[1::2])
    assert '- failed: wide, seed 0: ValueError: out of *memory* for <lambda>' in output
    assert errors.splitlines()[-1].endswith(f'1 of 3 runs failed; {tmp_path / "out" / "study.md"} says why')
    assert 'ValueError: out of \\*memory\\* for &lt;lambda&gt;' in (tmp_path / 'out' / 'study.md').read_text()
    assert [found['failed'] for found in result['variants'].values()] == [0, 1, 0]
    assert [found['unfinished'] for found in result['variants'].values()] == [1, 1, 1]
    code, _, _, trained, _ = study('--shard=1/2')
    assert (code, trained) == (0, ALL[::2])  # the other's failure is not this one's


def test_a_dry_run_prints_the_commands_of_its_share_alone(study, tmp_path):
    code, output, _, trained, result = study('--dry-run', '--shard=1/3')
    assert (code, trained, result) == (0, [], None)
    workdirs = [text.split('=')[-1] for text in output.splitlines()]
    assert workdirs == [f'{tmp_path}/out/cells/first/seed-{seed}' for seed in (0, 1)]


def test_other_settings_in_the_same_output_are_refused_before_anything_is_trained(study, tmp_path):
    before = study('--shard=1/6')[4]
    code, _, errors, trained, result = study('--config.optimizer.weight_decay=0.5')
    assert (code, trained, result) == (2, [], before)
    assert f'--output={tmp_path / "out"} contains another study' in errors and 'optimizer.weight_decay' in errors
