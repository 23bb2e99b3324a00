import json

import pytest

from benchmarks.augment import comparison as augmentation
from benchmarks.network import comparison
from dsconv import benchmark, cli

RESULT = {
    'what': 'augment',
    'batch_size': 512,
    'rounds': 2,
    'devices': '1 × cpu',
    'cores': 2,
    'step': {'share': 0.02, 'augment_seconds': [0.02, 0.02], 'step_seconds': [1.0, 1.0]},
    'peers': [{'name': 'pillow', 'work': 'the same', 'images_per_second': [5.0, 7.0], 'median': 6.0, 'ratio': 3.0}],
}
LINE = ['--config=configs/small.py', '--what=augment']


def run(capsys, line):
    """Runs the command in this process; returns its exit code, stdout and stderr."""
    code = 0
    try:
        cli.run(benchmark.flags(), benchmark.benchmark, arguments=line)
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


@pytest.fixture
def measured(monkeypatch):
    calls = []

    def measure(config, **given):
        calls.append((config.batch_size, given))
        return RESULT

    monkeypatch.setattr(augmentation, 'measure', measure)
    return calls


def test_prints_a_table_or_json_alone(measured, capsys):
    code, output, _ = run(capsys, LINE)
    assert code == 0
    assert 'Augmentation alone: 2.00 %' in output
    assert 'pillow' in output
    code, output, _ = run(capsys, [*LINE, '--json', '--rounds=2', '--peers=none', '--config.batch_size=64'])
    assert (code, json.loads(output)) == (0, RESULT)
    assert measured == [(512, {}), (64, {'peers': (), 'rounds': 2})]


def test_writes_the_json(measured, capsys, tmp_path):
    code, output, _ = run(capsys, [*LINE, f'--output={tmp_path / "augment.json"}', '--peers=pillow,keras'])
    assert (code, json.loads((tmp_path / 'augment.json').read_text())) == (0, RESULT)
    assert output.startswith('Augmentation alone')
    assert measured == [(512, {'peers': ('pillow', 'keras')})]


def test_writes_json_and_picture_into_a_directory(measured, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(augmentation, 'draw', lambda result: f'{result["what"]}.png'.encode(), raising=False)
    directory = tmp_path / 'new'
    for _ in range(2):  # it is there, the second time
        assert run(capsys, [*LINE, f'--output={directory}'])[0] == 0
        assert json.loads((directory / 'benchmark.json').read_text()) == RESULT
        assert (directory / 'benchmark.png').read_bytes() == b'augment.png'


def test_the_network_is_what_is_measured_unless_told(capsys, monkeypatch):
    calls = []

    def measure(config, **given):
        calls.append((config.model.dim, given))
        return {'what': 'network'}

    monkeypatch.setattr(comparison, 'measure', measure)
    for line in ([], ['--what=network', '--peers=torch,keras-jax,torch', '--rounds=2', '--steps=3']):
        assert run(capsys, [LINE[0], '--json', *line])[:2] == (0, '{"what": "network"}\n')
    assert calls == [(128, {}), (128, {'peers': ('torch', 'keras-jax'), 'rounds': 2, 'steps': 3})]


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ([], 'the following arguments are required: --config'),
        ([*LINE, '--peers=pilow'], "--peers: 'pilow' is not one of pillow, torchvision, keras, nor none; did"),
        ([LINE[0], '--topology=v3:2x2x1'], '--topology goes with --what=augment, not with --what=network'),
        ([LINE[0], '--what=feed', '--peers=none'], '--peers goes with --what=network or --what=augment, not with'),
        ([*LINE, '--output=no/such/file'], '--output=no/such/file: there is no directory no/such'),
        ([*LINE, '--output=README.md'], '--output=README.md must be a directory or end in .json'),
        ([LINE[0], '--config.model.norm=layer', '--peers=keras-jax'], 'model.norm=layer: the peers have batch alone; '),
        ([*LINE, '--config.augment.mix_per=image'], 'the peers have the default augmentation alone (augment.mix_per: '),
    ],
)
def test_wrong_lines(capsys, line, message):
    code, output, errors = run(capsys, line)
    assert (code, output, errors.count('\n')) == (2, '', 1)
    assert errors.startswith(f'python -m dsconv.benchmark: error: {message}')
