"""A published network scores as its run does, names no path, and is not trained on."""

import json

import jax
import numpy as np
import pytest

from dsconv import config as configuration
from dsconv.errors import InputError
from dsconv.training.loop import train
from dsconv.training.published import publish, without_paths
from dsconv.training.scoring import report_run, restore_network
from tests.conftest import tiny_config


@pytest.fixture(scope='module')
def averaged_run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp('averaged') / 'run'
    train(tiny_config(optimizer__ema_decay=0.9, epochs=2), workdir)
    return workdir


@pytest.fixture(scope='module')
def published(averaged_run, tmp_path_factory):
    output = tmp_path_factory.mktemp('published') / 'tiny'
    publish(averaged_run, output)
    return output


def test_the_weights_are_those_that_the_run_is_scored_by(averaged_run, published):
    _, expected, step = restore_network(averaged_run, configuration.load_run(averaged_run))
    _, variables, published_step = restore_network(published, configuration.load_run(published))
    assert published_step == step
    jax.tree.map(np.testing.assert_array_equal, variables, expected)


def test_it_is_scored_as_the_run_without_a_change_to_it(averaged_run, published, tmp_path):
    before = {path: path.read_bytes() for path in published.rglob('*') if path.is_file()}
    report, expected = (report_run(run, 'test', output=tmp_path / run.name) for run in (published, averaged_run))
    for key in ('accuracy', 'loss', 'confusion_matrix', 'data_fingerprint', 'checkpoint_step'):
        assert report[key] == expected[key]
    assert before == {path: path.read_bytes() for path in published.rglob('*') if path.is_file()}


def test_it_is_no_larger_than_its_weights(averaged_run, published):
    def size_of(run):
        return sum(path.stat().st_size for path in (run / 'checkpoints').rglob('*'))

    assert size_of(published) < 0.6 * size_of(averaged_run)


def test_it_is_not_trained_on(published):
    with pytest.raises(InputError, match='published network.*take another --workdir'):
        train(tiny_config(optimizer__ema_decay=0.9, epochs=4), published)


def test_it_never_takes_the_place_of_something(published, averaged_run):
    with pytest.raises(InputError, match='exists: give a new directory'):
        publish(averaged_run, published)


def test_no_path_of_the_machine_is_in_it(averaged_run, tmp_path):
    file = averaged_run / 'config.json'
    facts = json.loads(file.read_text())
    paths = "--workdir='/my place/run' --config.dataset.data_dir /mnt/data"
    facts['command'] = f'python -m dsconv.main --config=a.py {paths} --x=1'
    facts['config']['dataset']['data_dir'] = '/mnt/data'
    file.write_text(json.dumps(facts))
    publish(averaged_run, tmp_path / 'copy')
    text = (tmp_path / 'copy' / 'config.json').read_text()
    assert '/my place' not in text and '/mnt/data' not in text
    assert json.loads(text)['command'] == 'python -m dsconv.main --config=a.py --x=1'
    assert without_paths("python -m x '--workdir=/a b' 'a b'") == "python -m x 'a b'"
