"""What is logged to Weights & Biases and MLflow, with fakes of both; docs/settings.md names the tested versions."""

import json
import sys
from types import SimpleNamespace

import pytest

from dsconv.errors import InputError
from dsconv.reporting import MetricsLog
from dsconv.reporting.trackers import Trackers, check_trackers
from dsconv.training import loop
from tests.conftest import tiny_config

CONFIG = {'epochs': 3, 'model.dim': 8}
BOTH = ('wandb', 'mlflow')


@pytest.fixture
def told(monkeypatch):
    """All calls of the stand-ins, (name, positional, keyword), in order."""
    calls = []

    def call(name, result=None):
        return lambda *given, **named: calls.append((name, given, named)) or result

    run = SimpleNamespace(id='w1', log=call('wandb.log'), finish=call('wandb.finish'))
    wandb = SimpleNamespace(init=call('wandb.init', run), Settings=lambda **_: None)
    started = SimpleNamespace(info=SimpleNamespace(run_id='m1'))
    mlflow = {name: call(f'mlflow.{name}') for name in ('log_params', 'log_metrics', 'end_run')}
    monkeypatch.setitem(sys.modules, 'wandb', wandb)
    monkeypatch.setitem(sys.modules, 'mlflow', SimpleNamespace(start_run=call('mlflow.start_run', started), **mlflow))
    return calls


def test_both_are_told_what_tensorboard_is_and_go_on_with_the_same_run(told, tmp_path):
    with (
        Trackers(BOTH, tmp_path, CONFIG, is_resumed=False) as trackers,
        MetricsLog(tmp_path, restored_step=0, tensorboard=False, trackers=trackers) as log,
    ):
        log.write(step=7, epoch=1, split='train', loss=0.5)
    calls = {name: (given, named) for name, given, named in told}
    assert calls['wandb.log'] == calls['mlflow.log_metrics'] == (({'train/loss': 0.5},), {'step': 7})
    assert (calls['wandb.finish'], calls['mlflow.end_run']) == (((), {'exit_code': 0}), (('FINISHED',), {}))
    assert calls['mlflow.log_params'] == ((CONFIG,), {})
    told.clear()
    with pytest.raises(ZeroDivisionError), Trackers(BOTH, tmp_path, CONFIG, is_resumed=True):
        raise ZeroDivisionError
    named = {name: named for name, _, named in told}
    assert named['wandb.init']['id'] == 'w1' and named['mlflow.start_run'] == {'run_id': 'm1', 'run_name': None}
    assert 'mlflow.log_params' not in named and told[-1][1] == ('FAILED',)
    assert json.loads((tmp_path / 'trackers.json').read_text()) == {'wandb': 'w1', 'mlflow': 'm1'}


def test_a_run_that_starts_at_its_first_step_is_a_new_one_there(told, tmp_path):
    (tmp_path / 'trackers.json').write_text('{"mlflow": "of a run that was replaced"}')
    for step in (0, 19):
        with loop._open_log(tmp_path, tiny_config(log__trackers='mlflow'), step, 19):
            pass
    assert [named['run_id'] for name, _, named in told if name == 'mlflow.start_run'] == [None, 'm1']


def test_one_that_fails_is_named_once_and_ends_no_run(told, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sys.modules['mlflow'], 'log_metrics', lambda *_, **__: 1 / 0)
    monkeypatch.setattr(sys.modules['wandb'].init(), 'finish', lambda **_: 1 / 0)
    with Trackers(BOTH, tmp_path, {}, is_resumed=False) as trackers:
        for step in (1, 2):
            trackers.write(step, {'train/loss': 0.5})
    for name in BOTH:
        assert caplog.text.count(f'log.trackers={name} failed (division by zero)') == 1
    assert sum(name == 'wandb.log' for name, _, _ in told) == 2
    assert told.count(('mlflow.end_run', ('FAILED',), {})) == 1  # else the next run could not begin


def test_one_that_cannot_be_opened_or_is_not_installed_is_a_line(told, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules['wandb'], 'init', lambda **_: 1 / 0)
    monkeypatch.setattr(sys.modules['mlflow'], 'log_params', lambda _: 1 / 0)
    cell = tmp_path / 'cells' / 'wide' / 'seed-0'
    with pytest.raises(InputError, match='log.trackers=mlflow: division by zero'):
        Trackers(('mlflow',), cell, {}, is_resumed=False)
    assert told[-2:] == [
        ('mlflow.start_run', (), {'run_id': None, 'run_name': 'wide/seed-0'}),
        ('mlflow.end_run', ('FAILED',), {}),
    ]
    with pytest.raises(InputError, match='log.trackers=wandb: division by zero'):
        Trackers(('wandb',), tmp_path, {}, is_resumed=True)
    assert not list(tmp_path.glob('*.json'))
    for damage in ('{', '[1]', '[' * 100_000):
        (tmp_path / 'trackers.json').write_text(damage)
        with pytest.raises(InputError, match='trackers.json is damaged'):
            Trackers(('wandb',), tmp_path, {}, is_resumed=True)
    monkeypatch.delitem(sys.modules, 'wandb')
    (tmp_path / 'wandb').mkdir()  # what it leaves behind in the current directory
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    with pytest.raises(InputError, match='not installed: pip install wandb'):
        check_trackers(('wandb',))
    check_trackers(None)
