"""Whole runs of the tiny network in this process: logging, resuming, refusing."""

import gzip
import json
import os
import re
import shutil
import signal
import types
import unittest
import unittest.mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsconv import config as configuration
from dsconv import data
from dsconv.errors import InputError, Preempted, RunError
from dsconv.reporting import read_metrics
from dsconv.training import loop, setup
from dsconv.training.checkpoint import Checkpoints
from dsconv.training.network import restore_network
from dsconv.training.scoring import report_run
from tests.conftest import tiny_config
from tests.runs import STEPS_PER_EPOCH, metrics, wait_for


class Interrupted(Exception):
    """Stands for the end of the process."""


def interrupt_at(monkeypatch, step):
    """Lets training end as a crash would, before `step` is saved."""
    save = Checkpoints.save

    def save_until(self, state, validation):
        if int(state.step) >= step:
            raise Interrupted
        save(self, state, validation)

    monkeypatch.setattr(Checkpoints, 'save', save_until)


def variables_of(workdir):
    return restore_network(workdir, configuration.load_run(workdir), 'latest')[1]


def test_the_log_has_a_line_every_few_steps_and_at_the_end_of_each_epoch(finished_run):
    lines = read_metrics(finished_run)
    train = [line for line in lines if line['split'] == 'train']
    ends = sorted({7, 14, 19, 26, 33, 38, 45, 52, 57})
    assert [line['step'] for line in train] == ends
    assert [line['step'] for line in lines if line['split'] == 'validation'] == [19, 38, 57]
    assert set(train[-1]) == {
        'step', 'epoch', 'split', 'loss', 'accuracy', 'learning_rate', 'images_per_second', 'input_wait_fraction',
        'grad_norm',
    }  # fmt: skip
    assert train[-1]['epoch'] == 3.0
    assert train[-1]['learning_rate'] == pytest.approx(5e-5, rel=1e-4)
    start = configuration.load_run(finished_run).schedule.init_value
    assert train[0]['learning_rate'] == pytest.approx(start + (0.01 - start) * 6 / 19, rel=1e-4)
    assert train[-1]['loss'] < train[0]['loss']


def test_a_run_that_is_told_to_leave_goes_on_to_the_same_bits(finished_run, tmp_path, monkeypatch, caplog):
    caplog.set_level('INFO', 'dsconv')
    advance = loop.Progress.advance

    def advance_until(self, step, state, loss):
        advance(self, step, state, loss)
        if step == 4:  # between two lines of the log
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for(lambda: 'stopping after this step' in caplog.text)

    def save_and_be_told_again(self, state, validation, save=Checkpoints.save):
        save(self, state, validation)
        self._manager.wait_until_finished = lambda: (wait(), signals and os.kill(os.getpid(), signals.pop()))
        wait = type(self._manager).wait_until_finished.__get__(self._manager)

    signals = [signal.SIGTERM]  # which would end the process after the loop
    with monkeypatch.context() as patch:
        patch.setattr(loop.Progress, 'advance', advance_until)
        patch.setattr(Checkpoints, 'save', save_and_be_told_again)
        with pytest.raises(Preempted, match='stopped after step 4 of 57; a checkpoint was saved'):
            loop.train(tiny_config(), tmp_path)
    # From here on the batches are drawn on the devices.
    assert loop.train(tiny_config(dataset__on_device='true'), tmp_path)
    assert metrics(tmp_path) == metrics(finished_run)
    jax.tree.map(np.testing.assert_array_equal, variables_of(tmp_path), variables_of(finished_run))
    assert not loop.train(tiny_config(), tmp_path)


def test_what_is_due_every_few_epochs_is_due_at_the_end_too():
    training = types.SimpleNamespace(steps_per_epoch=5, total_steps=35)
    assert [step for step in range(1, 36) if loop._is_due(3, step, training)] == [15, 30, 35]


SHORT = dict(model__depth=0, schedule__warmup_epochs=0)


@pytest.fixture(scope='module')
def traced(tmp_path_factory):
    """The workdir of a run of one epoch, of which three steps are traced, and what was compiled."""
    workdir = tmp_path_factory.mktemp('traced')
    with jax.log_compiles(), unittest.TestCase().assertLogs('jax') as log:
        assert loop.train(tiny_config(epochs=1, **SHORT), workdir, profile=3)
    return workdir, [record.getMessage() for record in log.records]


def test_a_finished_run_can_be_given_more_epochs(traced, tmp_path):
    shutil.copytree(traced[0], tmp_path / 'run')
    assert loop.train(tiny_config(epochs=2, eval__batch_size=64, **SHORT), tmp_path / 'run')
    assert read_metrics(tmp_path / 'run')[-1]['step'] == 2 * STEPS_PER_EPOCH
    assert configuration.load_run(tmp_path / 'run').epochs == 2
    shutil.rmtree(tmp_path / 'run' / 'checkpoints' / str(2 * STEPS_PER_EPOCH))  # as if it had been killed before
    with pytest.raises(InputError, match=r'trained to step 19 of epochs=2: set more epochs'):
        loop.train(tiny_config(epochs=1, **SHORT), tmp_path / 'run')


def test_the_step_whose_memory_is_told_is_not_compiled_again(traced):
    assert len([line for line in traced[1] if re.search(r'^Finished XLA compilation of jit.steps', line)]) == 1


def test_the_steps_after_the_warm_up_are_in_the_trace(traced):
    (folder,) = (traced[0] / 'profile' / 'plugins' / 'profile').iterdir()
    (file,) = folder.glob('*.xplane.pb')
    planes = jax.profiler.ProfileData.from_file(str(file)).planes
    assert 'train' in {event.name for plane in planes for line in plane.lines for event in line.events}
    with gzip.open(folder / 'perfetto_trace.json.gz') as perfetto:
        events = json.load(perfetto)['traceEvents']
    assert [event['args']['step_num'] for event in events if event.get('name') == 'train'] == ['4', '5', '6']


def test_a_run_whose_validation_accuracy_rises_no_more_ends_and_is_finished(tmp_path, monkeypatch, caplog):
    """Also where it is killed in between, and where checkpoints are due later than its best evaluation."""
    tiny = dict(epochs=6, checkpoint__every_epochs=6, eval__patience=2, **SHORT)
    scripted = {19: 0.5, 38: 0.6, 57: 0.6, 76: 0.55, 95: 0.9, 114: 0.9}

    class Scripted(loop.Evaluator):
        def score(self, variables, split):
            return {'loss': 1.0, 'accuracy': scripted[next(evaluated)]}

    monkeypatch.setattr(loop, 'Evaluator', Scripted)
    evaluated = iter((19, 38))
    with monkeypatch.context() as patch:
        interrupt_at(patch, 38)
        with pytest.raises(Interrupted):
            loop.train(tiny_config(**tiny), tmp_path)
    evaluated = iter((38, 57, 76))
    with caplog.at_level('INFO', 'dsconv'):
        assert loop.train(tiny_config(**tiny), tmp_path)
    assert 'ends at step 76 of 114: no validation accuracy above 60.00% in 2 evaluations' in caplog.text
    assert [line['step'] for line in read_metrics(tmp_path) if line['split'] == 'validation'] == [19, 38, 57, 76]
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert (checkpoints.choose(None), checkpoints.choose('latest')) == (38, 76)
    with caplog.at_level('INFO', 'dsconv'):
        assert not loop.train(tiny_config(**tiny), tmp_path)
    assert 'ended at step 76 of 114: no validation accuracy above 60.00% in 2 evaluations' in caplog.text
    evaluated = iter((95, 114))
    assert loop.train(tiny_config(**tiny | {'eval__patience': 4}), tmp_path)  # more of it goes on
    assert read_metrics(tmp_path)[-1]['step'] == 6 * STEPS_PER_EPOCH


def test_steps_that_are_not_finite_can_be_skipped_but_not_more_than_allowed(tmp_path, monkeypatch, caplog):
    make_augment = setup.make_augment

    def poisoned(*given):
        def augment(key, epoch, *batch):
            images, targets = healthy(key, epoch, *batch)
            return images, jnp.where(epoch == 1, jnp.nan, targets)  # in the second epoch no numbers

        healthy = make_augment(*given)
        return augment

    monkeypatch.setattr(setup, 'make_augment', poisoned)
    averaged = {'optimizer__ema_decay': 0.998, 'model__depth': 0}
    # The first one after the last line of the log is named.
    with pytest.raises(RunError, match=r'step 34: loss nan, gradient norm nan, .*max_skipped_steps \(now 18\)'):
        loop.train(tiny_config(max_skipped_steps=STEPS_PER_EPOCH - 1, **averaged), tmp_path)
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.choose('latest') == STEPS_PER_EPOCH
    assert read_metrics(tmp_path)[-1]['step'] == 33
    with caplog.at_level('WARNING', 'dsconv'):
        assert loop.train(tiny_config(max_skipped_steps=STEPS_PER_EPOCH, **averaged), tmp_path)
    assert 'step 20: loss nan, gradient norm nan, learning rate 0.01: step skipped (7 of at most 19)' in caplog.text
    lines = {line['step']: line for line in read_metrics(tmp_path) if line['split'] == 'train'}
    losses = {step: line['loss'] for step, line in lines.items()}
    assert [step for step, loss in losses.items() if loss is None] == [26, 33, 38]
    assert losses[57] < losses[19]
    # 38 of 57 steps were taken, for the schedule (peak 0.01 at step 19, 5e-5 at step 56) and for the average.
    assert lines[57]['learning_rate'] == pytest.approx(0.01 * 0.005 ** ((37 - 19) / 37), rel=1e-4)
    taken = np.arange(1, 39)
    counted = variables_of(tmp_path)['batch_stats']['stem_unit']['batch_norm']['count']
    assert counted == pytest.approx(np.average(taken, weights=0.998 ** (38 - taken)), rel=1e-4)
    scored = [line['loss'] for line in read_metrics(tmp_path) if line['split'] == 'validation']
    assert report_run(tmp_path, 'validation', which='latest')['loss'] == pytest.approx(scored[-1], rel=1e-5)


def test_a_network_that_refuses_the_images_leaves_the_workdir_to_another(tmp_path):
    with pytest.raises(InputError, match='8×8 are too small'):
        loop.train(tiny_config(model__name='vgg16'), tmp_path)
    assert not (tmp_path / 'config.json').exists()


def test_weights_that_do_not_fit_in_the_memory_are_said_with_what_helps(tmp_path, monkeypatch):
    full = jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.')
    monkeypatch.setattr(loop, 'initial_state', unittest.mock.Mock(side_effect=full))
    with pytest.raises(InputError, match='not have enough memory .*a --config.batch_size below 64'):
        loop.train(tiny_config(**SHORT), tmp_path)


def test_a_test_split_without_labels_is_refused_before_the_training(tmp_path):
    class Unlabelled:
        @property
        def labels(self):
            raise InputError('no labels')

    source = data.open_source(tiny_config().dataset)
    load = source.load
    object.__setattr__(source, 'load', lambda name: Unlabelled() if name == 'test' else load(name))
    with pytest.raises(InputError, match='no labels'):
        loop.train(tiny_config(**SHORT), tmp_path / 'run', source)
    assert not (tmp_path / 'run' / 'config.json').exists()


def test_no_checkpoint_is_chosen_by_the_test_split(tmp_path):
    config = tiny_config(epochs=1, **SHORT)
    source = data.open_source(config.dataset)
    del source.division.own_sizes['validation']
    assert loop.train(config, tmp_path, source)
    message = 'no validation split that selects the best checkpoint'
    with Checkpoints(tmp_path, read_only=True) as checkpoints, pytest.raises(InputError, match=message):
        checkpoints.choose('best')
