import json

import pytest

from dsconv import benchmark, cli
from dsconv.performance import augmentation

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

    def measure(config, libraries, rounds):
        calls.append((config.batch_size, libraries, rounds))
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
    assert measured == [(512, augmentation.LIBRARIES, 9), (64, (), 2)]


def test_writes_the_json(measured, capsys, tmp_path):
    code, output, _ = run(capsys, [*LINE, f'--output={tmp_path / "augment.json"}', '--peers=pillow,keras'])
    assert (code, json.loads((tmp_path / 'augment.json').read_text())) == (0, RESULT)
    assert output.startswith('Augmentation alone')
    assert measured == [(512, ('pillow', 'keras'), 9)]


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        (LINE[:1], 'the following arguments are required: --what'),
        ([LINE[0], '--what=augmentation'], "argument --what: invalid choice: 'augmentation'"),
        ([*LINE, '--peers=pilow'], "argument --peers: 'pilow' is not one of pillow, torchvision, keras, nor none; did"),
        ([*LINE, '--peers='], "argument --peers: '' is not one of"),
        ([*LINE, '--rounds=0'], "argument --rounds: '0' must be a whole number from 1"),
        ([*LINE, '--output=no/such/file'], '--output=no/such/file: there is no directory no/such'),
        ([*LINE, '--config.augment.mix_per=image'], 'the peers have the default augmentation alone (augment.mix_per: '),
        ([*LINE, '--config.model.patch_size=5', '--peers=none'], 'model.patch_size=5 does not divide images of 32×32'),
    ],
)
def test_wrong_lines(capsys, line, message):
    code, output, errors = run(capsys, line)
    assert (code, output, errors.count('\n')) == (2, '', 1)
    assert errors.startswith(f'python -m dsconv.benchmark: error: {message}')
