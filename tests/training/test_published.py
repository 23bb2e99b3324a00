"""A published network scores as its run does, contains no path, and cannot be trained further."""

import json
import shutil
from pathlib import Path
from unittest.mock import Mock

import jax
import numpy as np
import pytest

from dsconv import config as configuration
from dsconv.errors import InputError
from dsconv.training import published as published_network
from dsconv.training.loop import train
from dsconv.training.network import restore_network
from dsconv.training.published import publish, without_paths
from dsconv.training.scoring import report_run
from tests.conftest import tiny_config

AVERAGED = dict(optimizer__ema_decay=0.9, epochs=1, schedule__warmup_epochs=0, model__depth=0)


@pytest.fixture(scope='module')
def averaged_run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp('averaged') / 'run'
    train(tiny_config(**AVERAGED), workdir)
    return workdir


def test_it_scores_as_the_run_is_not_trained_on_and_never_changed(averaged_run, tmp_path):
    published = tmp_path / 'published' / 'tiny'
    publish(averaged_run, published)
    networks = [restore_network(run, configuration.load_run(run)) for run in (published, averaged_run)]
    assert networks[0][2] == networks[1][2]
    jax.tree.map(np.testing.assert_array_equal, networks[0][1], networks[1][1])
    before = {path: path.read_bytes() for path in published.rglob('*') if path.is_file()}
    report, expected = (report_run(run, 'test', output=tmp_path / run.name) for run in (published, averaged_run))
    for key in ('accuracy', 'loss', 'confusion_matrix', 'data_fingerprint', 'checkpoint_step'):
        assert report[key] == expected[key]
    with pytest.raises(InputError, match='published network.*use another --workdir'):
        train(tiny_config(**AVERAGED | {'epochs': 4}), published)
    assert before == {path: path.read_bytes() for path in published.rglob('*') if path.is_file()}
    files = [[path for path in (run / 'checkpoints').rglob('*') if path.is_file()] for run in (published, averaged_run)]
    alone, whole = (sum(path.stat().st_size for path in some) for some in files)
    assert alone < 0.5 * whole


def test_nothing_is_left_of_one_that_cannot_be_written(averaged_run, tmp_path, monkeypatch):
    monkeypatch.setattr(published_network, 'save_temperature', Mock(side_effect=OSError('no space left on device')))
    monkeypatch.setattr(published_network, 'read_temperature', lambda *_: {'temperature': 1})
    with pytest.raises(OSError, match='no space'):
        publish(averaged_run, tmp_path / 'tiny')
    assert not list(tmp_path.iterdir())


def test_no_path_of_the_machine_is_in_it(averaged_run, tmp_path):
    run = shutil.copytree(averaged_run, tmp_path / 'run')
    file = run / 'config.json'
    facts = json.loads(file.read_text())
    paths = "--workdir='/my place/run' --config.dataset.data_dir /mnt/data --config.loss.teachers=/my"
    facts['command'] = f'python -m dsconv.main --config=a.py {paths} --x=1'
    facts['config']['dataset']['data_dir'] = '/mnt/data'
    facts['config']['init_from'] = '.'
    facts['config']['loss']['teachers'] = ['/my place/large', '/my place/larger']
    file.write_text(json.dumps(facts))
    publish(run, tmp_path / 'copy')
    text = (tmp_path / 'copy' / 'config.json').read_text()
    assert '/my place' not in text and '/mnt/data' not in text
    assert json.loads(text)['command'] == 'python -m dsconv.main --config=a.py --x=1'
    config = configuration.load_run(tmp_path / 'copy')
    assert (config.loss.teachers, config.init_from) == (('large', 'larger'), Path.cwd().name)
    file.write_text(json.dumps({'config': facts['config']}))  # by hand, or by a library
    publish(run, tmp_path / 'bare')
    expected = {
        "python -m x '--workdir=/a b' 'a b'": "python -m x 'a b'",
        'python -m dsconv.ablate --study=/my/wide.toml --output=/my/out': 'python -m dsconv.ablate --study=wide.toml',
        'python /my/a.py --baseline=/my/b.py --baseline configs/pictures.py:/my/ants -f /my/kernel.json --x=/my/y':
            'python a.py --baseline=b.py --baseline=configs/pictures.py:ants -f kernel.json --x=y',
        '--config=gs://my/runs/small/config.json --x=gs://my/y': '--config=config.json --x=y',
        '--config=~/my/a.py --x ~me/y': '--config=a.py --x y',
        '--config=../me/a.py --x=../y': '--config=a.py --x=y',
        '--config=configs/pictures.py:/my/ants --config.dataset.name image_table:/my/ants.csv --config /my/a.py':
            '--config=configs/pictures.py:ants --config.dataset.name=image_table:ants.csv --config=a.py',
    }  # fmt: skip
    assert {command: without_paths(command) for command in expected} == expected
