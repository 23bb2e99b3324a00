"""The temperature of a run, by hand and against what numbers drawn from known probabilities ask for."""

import json
import shutil

import jax
import numpy as np
import pytest

import dsconv
from dsconv import config as configuration
from dsconv import data
from dsconv.errors import InputError
from dsconv.reporting.scores import expected_calibration_error
from dsconv.training.calibration import fit_temperature, read_temperature
from dsconv.training.network import restore_network
from dsconv.training.published import publish
from dsconv.training.scoring import report_run
from dsconv.training.step import normalise


def test_logits_that_are_three_times_too_large_are_divided_by_three():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20_000, 5)).astype(np.float32)
    labels = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)  # drawn from their softmax
    found = [fit_temperature(labels, np.array(jax.nn.log_softmax(factor * logits))) for factor in (3.0, 0.5)]
    assert found == pytest.approx([3.0, 0.5], rel=0.03)


def test_a_few_right_answers_ask_for_no_certainty():
    sure = np.log(np.tile([[0.9, 0.1]], (8, 1)))
    assert 0.4 < fit_temperature(np.zeros(8, int), sure) < 1 < fit_temperature(np.ones(8, int), sure)


@pytest.fixture(scope='module')
def logits_of(finished_run):
    """Split → (labels, logits) of the run's network."""
    config = configuration.load_run(finished_run)
    network, variables, _ = restore_network(finished_run, config)
    source = data.open_source(config.dataset)

    def logits(name):
        split = source.load(name)
        images = normalise(split.images(np.arange(split.num_examples)), config.dataset.mean, config.dataset.std)
        return split.labels, np.asarray(jax.jit(network.apply)(variables, images), np.float64)

    return logits


def test_a_run_ends_with_the_temperature_of_its_validation_part(finished_run, logits_of):
    report = json.loads((finished_run / 'report' / 'report.json').read_text())
    found = report['calibration']
    assert (found['split'], found['examples'], found['in_sample']) == ('validation', 180, False)
    labels, logits = logits_of('validation')

    def loss(temperature):
        scaled = np.asarray(jax.nn.log_softmax(logits / temperature))
        return np.log(temperature) ** 2 / 2 - scaled[np.arange(180), labels].sum()

    assert loss(found['temperature']) < min(loss(found['temperature'] * factor) for factor in (0.99, 1.01))
    labels, logits = logits_of('test')
    for key, temperature in (('ece_before', 1), ('ece', found['temperature'])):
        confidence = np.asarray(jax.nn.softmax(logits / temperature)).max(axis=1)
        expected = expected_calibration_error(confidence, logits.argmax(axis=1) == labels)
        assert (found | report)[key] == pytest.approx(expected, abs=1e-4)
    assert report['accuracy'] == np.mean(logits.argmax(axis=1) == labels)


def test_it_goes_with_the_network_and_into_its_answers(finished_run, logits_of, tmp_path):
    step = publish(finished_run, tmp_path / 'published')
    assert read_temperature(tmp_path / 'published', step) == read_temperature(finished_run, step)
    network = dsconv.load(tmp_path / 'published')
    images = data.open_source(configuration.load_run(finished_run).dataset).load('test').images(np.arange(20))
    _, logits = logits_of('test')
    np.testing.assert_allclose(network(images), jax.nn.softmax(logits[:20] / network.temperature), atol=1e-6)
    assert abs(network.temperature - 1) > 0.01
    for damage in ('{"temperature": 0}', '{"temperature": 1, "split": 3, "examples": "x"}'):
        (tmp_path / 'published' / 'checkpoints' / str(step) / 'temperature.json').write_text(damage)
        with pytest.raises(InputError, match='temperature.json is damaged: remove it, or fit it again'):
            dsconv.load(tmp_path / 'published')
    report_run(tmp_path / 'published', None, calibrate=True)
    assert read_temperature(tmp_path / 'published', step) == read_temperature(finished_run, step)


def test_a_run_without_a_validation_part_has_none_and_says_so(finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / 'run', copy_function=shutil.copyfile)
    for file in run.rglob('temperature.json'):
        file.unlink()
    source = data.open_source(configuration.load_run(run).dataset)
    del source.division.own_sizes['validation']
    with pytest.raises(InputError, match="no split 'validation'"):
        report_run(run, 'test', source=source, calibrate=True)
    assert report_run(run, 'test', source=source)['calibration'] is None
    assert 'none: it is fitted on a validation split' in (run / 'report' / 'report.md').read_text()
    assert not list(run.rglob('temperature.json'))
