import json
import os

import pytest

from dsconv import ablate, cli
from tests.studies.grid import FLAGS, STUDY, Runs

ALL = [(variant, seed) for seed in (0, 1) for variant in ('first', 'wide', 'no warm-up')]


@pytest.fixture
def line(tmp_path):
    (tmp_path / 'width.toml').write_text(STUDY)
    return [*FLAGS, f'--study={tmp_path / "width.toml"}', '--seeds=0,1', f'--output={tmp_path / "out"}']


@pytest.fixture
def runs(monkeypatch):
    return Runs(monkeypatch, {key: 0.5 + 0.01 * number for number, key in enumerate(ALL)})


def command(capsys, line):
    code = 0
    try:
        cli.run(ablate.flags(), ablate.ablate, arguments=line)
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_a_study_leaves_a_table_a_page_and_a_picture(line, runs, capsys, tmp_path):
    code, output, _ = command(capsys, line)
    assert (code, runs.trained) == (0, ALL)
    result = json.loads((tmp_path / 'out' / 'study.json').read_text())
    assert (result['study'], result['title'], result['seeds']) == ('width', 'How wide', [0, 1])
    assert [(one['variant'], one['seed']) for one in result['cells']] == ALL
    assert result['variants']['wide']['difference'] == pytest.approx(0.01)
    assert result['variants']['wide']['macs'] > 2 * result['variants']['first']['macs']
    page = (tmp_path / 'out' / 'study.md').read_text()
    for text in (output, page):
        assert 'How wide' in text
        assert result['sentence'] in text
        assert '180 validation images' in text
    assert f'```\n{result["command"]}\n```' in page
    assert (tmp_path / 'out' / 'study.png').read_bytes().startswith(b'\x89PNG')
    before = (tmp_path / 'out' / 'study.json').read_bytes()
    assert command(capsys, line)[0] == 0
    assert (runs.trained, (tmp_path / 'out' / 'study.json').read_bytes()) == (ALL, before)


def test_failed_runs_end_in_exit_code_1_once_all_is_written(line, runs, capsys, tmp_path):
    runs.outcomes['wide', 0] = ValueError('out of *memory* for <lambda>')
    code, output, errors = command(capsys, [*line, '--shard=2/2'])
    assert (code, runs.trained) == (1, ALL[1::2])
    assert '- failed: wide, seed 0: ValueError: out of *memory* for <lambda>' in output
    assert errors.splitlines()[-1].endswith(f'1 of 3 runs failed; {tmp_path / "out" / "study.md"} says why')
    assert 'ValueError: out of \\*memory\\* for &lt;lambda&gt;' in (tmp_path / 'out' / 'study.md').read_text()
    result = json.loads((tmp_path / 'out' / 'study.json').read_text())
    assert [result['variants'][name]['failed'] for name in result['variants']] == [0, 1, 0]
    assert [result['variants'][name]['unfinished'] for name in result['variants']] == [1, 1, 1]
    runs.trained = []
    assert command(capsys, [*line, '--shard=1/2'])[0] == 0  # the other's failure is not this one's
    assert runs.trained == ALL[::2]
    result = json.loads((tmp_path / 'out' / 'study.json').read_text())
    assert [found['runs'] for found in result['variants'].values()] == [2, 1, 2]


def test_an_interrupted_study_has_written_what_it_had(line, runs, capsys, tmp_path):
    runs.outcomes['wide', 0] = KeyboardInterrupt()
    assert command(capsys, line)[0] == 130
    variants = json.loads((tmp_path / 'out' / 'study.json').read_text())['variants']
    assert [found['runs'] for found in variants.values()] == [1, 0, 0]


def test_a_dry_run_prints_the_commands_of_its_share_alone(line, runs, capsys, tmp_path):
    code, output, _ = command(capsys, [*line, '--dry-run', '--shard=1/3'])
    assert (code, runs.trained, os.path.exists(tmp_path / 'out')) == (0, [], False)
    assert [text.split('=')[-1] for text in output.splitlines()] == [
        f'{tmp_path}/out/cells/first/seed-0',
        f'{tmp_path}/out/cells/first/seed-1',
    ]


def test_other_settings_in_the_same_output_are_refused_before_anything_is_trained(line, runs, capsys, tmp_path):
    assert command(capsys, [*line, '--shard=1/6'])[0] == 0
    before = (tmp_path / 'out' / 'study.json').read_bytes()
    runs.trained = []
    code, _, errors = command(capsys, [*line, '--config.optimizer.weight_decay=0.5'])
    assert (code, runs.trained) == (2, [])
    assert f'--output={tmp_path / "out"} holds another study' in errors
    assert 'optimizer.weight_decay' in errors
    assert (tmp_path / 'out' / 'study.json').read_bytes() == before
