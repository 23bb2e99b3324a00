import json
from pathlib import Path
from unittest.mock import Mock

import pytest

from benchmarks.augment import comparison as augmentation
from benchmarks.network import comparison
from dsconv import benchmark
from tests.commands import run

RESULT = {
    'what': 'augment', 'batch_size': 512, 'rounds': 2, 'devices': '1 × cpu', 'cores': 2,
    'step': {'share': 0.02, 'augment_seconds': [0.02, 0.02], 'step_seconds': [1.0, 1.0]},
    'peers': [{'name': 'pillow', 'work': 'the same', 'images_per_second': [5.0, 7.0], 'median': 6.0, 'ratio': 3.0}],
}  # fmt: skip
NETWORK = '--config=configs/small.py'
AUGMENT = [NETWORK, '--what=augment']


@pytest.fixture
def measured(monkeypatch):
    calls = []
    for module, result in ((augmentation, RESULT), (comparison, {'what': 'network'})):
        monkeypatch.setattr(
            module, 'measure', lambda config, result=result, **given: calls.append((config.batch_size, given)) or result
        )
    return calls


def test_prints_a_table_or_json_alone_of_the_network_unless_told(measured, capsys):
    code, output, _ = run(benchmark, AUGMENT, capsys)
    assert code == 0 and 'Augmentation alone: 2.00 %' in output and 'pillow' in output
    line = [*AUGMENT, '--json', '--rounds=2', '--peers=none', '--config.batch_size=64']
    code, output, _ = run(benchmark, line, capsys)
    assert (code, json.loads(output)) == (0, RESULT)
    line = [NETWORK, '--json', '--peers=torch,keras-jax,torch', '--steps=3']
    assert run(benchmark, line, capsys)[:2] == (0, '{"what": "network"}\n')
    peers = ('torch', 'keras-jax')
    assert measured == [(512, {}), (64, {'peers': (), 'rounds': 2}), (512, {'peers': peers, 'steps': 3})]


def test_writes_json_into_a_file_and_with_its_picture_into_a_directory(measured, capsys, tmp_path, monkeypatch):
    assert run(benchmark, [*AUGMENT, f'--output={tmp_path / "augment.json"}'], capsys)[0] == 0
    assert json.loads((tmp_path / 'augment.json').read_text()) == RESULT
    monkeypatch.setattr(augmentation, 'draw', lambda result: f'{result["what"]}.png'.encode(), raising=False)
    for _ in range(2):  # the second time, the directory exists
        assert run(benchmark, [*AUGMENT, f'--output={tmp_path / "new"}'], capsys)[0] == 0
        assert json.loads((tmp_path / 'new' / 'benchmark.json').read_text()) == RESULT
        assert (tmp_path / 'new' / 'benchmark.png').read_bytes() == b'augment.png'


def test_what_cannot_be_written_is_printed_all_the_same(measured, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, 'write_json', Mock(side_effect=OSError(28, 'No space left on device')))
    code, output, _ = run(benchmark, [*AUGMENT, '--json', f'--output={tmp_path / "augment.json"}'], capsys)
    assert (code, json.loads(output)) == (1, RESULT)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ([*AUGMENT, '--peers=pilow'], "--peers: 'pilow' is not one of pillow, torchvision, keras, none; did you"),
        ([*AUGMENT, '--steps=3'], '--steps can only be used with --what=network, not with --what=augment'),
        ([NETWORK, '--targets=101'], "argument --targets: '101' must be a number from 0 to 100"),
        ([*AUGMENT, '--output=README.md'], f'--output: {Path("README.md").absolute()} is not a directory'),
        (
            [NETWORK, '--config.model.norm=layer', '--peers=keras-jax'],
            'model.norm=layer: the peers support only batch; ',
        ),
        ([NETWORK, '--config.model.activation=elu', '--peers=keras-jax'], 'model.activation=elu: the peers support'),
        ([*AUGMENT, '--config.augment.mix_per=image'], 'the peers support only the default augmentation (augment.mix_'),
    ],
)
def test_wrong_lines(capsys, line, message):
    code, output, errors = run(benchmark, line, capsys)
    assert (code, output, errors.count('\n')) == (2, '', 1)
    assert errors.startswith(f'python -m dsconv.benchmark: error: {message}')
