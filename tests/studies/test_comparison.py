import tomllib

import numpy as np
import pytest

from dsconv import config as configuration
from dsconv.models import MODELS
from dsconv.models.complexity import layer_costs
from dsconv.reporting import markdown_table
from dsconv.studies import comparison
from dsconv.studies.cells import make_cells, resolve_config, train_cells
from dsconv.studies.study import of_models
from dsconv.training.network import build_network
from tests.conftest import tiny_config
from tests.studies.grid import OVERRIDES, Runs

FIGURES = tomllib.loads(comparison.PUBLISHED.read_text())['figures']
MEASURED = {'latency': {'dsconv': {'latency_one': 0.001, 'latency_batch': 0.25}}, 'devices': '1 × cpu', 'cores': 2}
MEASURED |= {'cpu': 'of some kind'}


def cells_of(study, directory, *overrides):
    return make_cells(study, 'configs/digits.py', [*OVERRIDES, *overrides], (0, 1), directory)


def test_the_table_and_what_others_have_published_on_cifar10_alone(tmp_path, monkeypatch):
    Runs(monkeypatch, {('dsconv', 0): 0.8, ('dsconv', 1): 0.9, ('resnet8', 0): 0.7, ('resnet8', 1): 0.7})
    study = of_models('dsconv,resnet8', MODELS)
    cells = list(train_cells(cells_of(study, tmp_path)))
    result = comparison.summarise(study, cells) | MEASURED
    text = comparison.as_text(result, markdown_table)
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines() if line.startswith('|')]
    ours, other, dsconv = *rows[2:], result['variants']['dsconv']
    costs = [f'{dsconv["parameters"]:,}', f'{dsconv["macs"]:,}']
    assert ours == ['dsconv', *costs, '2', '85.00 ± 7.07', '-', '-', '100.5', '1', '250']
    assert other[3:6] == ['2', '70.00 ± 0.00', '−15.00'] and other[-2:] == ['-', '-']
    assert 'Published' not in text and result['published'] == []  # digits are not CIFAR-10
    monkeypatch.setattr(comparison, 'PUBLISHED_ON', 'digits')
    result = comparison.summarise(study, cells) | MEASURED
    assert result['published'] == [figure for figure in FIGURES if figure['model'] in ('dsconv', 'resnet8')]
    text = comparison.as_text(result)
    assert 'Published: test accuracies on the original CIFAR-10 with other training recipes' in text
    assert 'MLPerf Tiny' in text
    assert comparison.draw(result).startswith(b'\x89PNG')


@pytest.mark.parametrize('figure', FIGURES, ids=lambda one: one['name'])
def test_published_results_are_of_networks_as_large_as_ours(figure):
    assert set(figure) == {'model', 'name', 'accuracy', 'parameters', 'macs', 'source'}
    assert 50 < figure['accuracy'] < 100
    file = f'configs/{figure["name"].split()[-1].lower()}.py' if figure['model'] == 'dsconv' else 'configs/small.py'
    config = configuration.load(file, [f'model.name={figure["model"]}', 'dataset.class_names=a,b,c,d,e,f,g,h,i,j'])
    rows = layer_costs(build_network(config), (32, 32, 3))
    assert figure['parameters'] == sum(row.parameters for row in rows)
    assert figure['macs'] == sum(row.macs for row in rows)


def test_a_network_that_the_data_refuses_is_not_measured(tmp_path, monkeypatch):
    cells = cells_of(of_models('dsconv,resnet8', MODELS), tmp_path, 'model.patch_size=3')
    monkeypatch.setattr(comparison, 'measure_latency', list)
    assert comparison.measure(cells)['latency'] == ['resnet8']


def test_a_network_is_measured_on_one_image_and_on_a_batch_in_turn(monkeypatch):
    rows = []

    def seconds_per_call(call, seconds):
        logits = call()
        assert logits.shape[1] == 10
        assert np.isfinite(logits).all()
        rows.append(len(logits))
        return 2 ** len(rows)

    monkeypatch.setattr(comparison, 'seconds_per_call', seconds_per_call)
    taken = comparison.measure_latency({'a': resolve_config(tiny_config())}, rounds=3)
    assert rows == [1, comparison.BATCH] * 3
    assert taken == {'a': {'latency_one': 8, 'latency_batch': 16}}  # the median round is the second


def test_a_network_that_refuses_the_images_is_left_out(caplog):
    configs = {'big': resolve_config(tiny_config(model__name='alexnet')), 'small': resolve_config(tiny_config())}
    assert list(comparison.measure_latency(configs, rounds=1, seconds=0)) == ['small']
    assert 'big is not timed: images of 8×8 are too small' in caplog.text
