import tomllib

import pytest

from dsconv import config as configuration
from dsconv.models import MODELS
from dsconv.models.complexity import layer_costs
from dsconv.reporting import markdown_table
from dsconv.studies import comparison
from dsconv.studies.cells import make_cells
from dsconv.studies.study import of_models
from dsconv.training.setup import build_network
from tests.studies.grid import OVERRIDES, Runs

MEASURED = {'latency': {'dsconv': {'latency_one': 0.001, 'latency_batch': 0.25}}, 'cores': 2, 'cpu': 'of some kind'}


def study_and_cells(directory):
    study = of_models('dsconv,resnet8', MODELS)
    return study, make_cells(study, 'configs/digits.py', OVERRIDES, (0, 1), directory)


def result_of(tmp_path, monkeypatch):
    accuracies = {('dsconv', 0): 0.8, ('dsconv', 1): 0.9, ('resnet8', 0): 0.7, ('resnet8', 1): 0.7}
    runs = Runs(monkeypatch, accuracies)
    study, cells = study_and_cells(tmp_path)
    for cell in cells:
        runs.train(cell.config, cell.workdir)
        runs.report_run(cell.workdir, 'validation', 'latest')
    return comparison.summarise(study, cells) | MEASURED


def test_the_table_and_what_others_have_published_on_cifar10_alone(tmp_path, monkeypatch):
    result = result_of(tmp_path, monkeypatch)
    text = comparison.as_text(result, markdown_table)
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines() if line.startswith('|')]
    ours, other = rows[2:]
    dsconv, resnet8 = result['variants'].values()
    assert ours == [
        'dsconv', f'{dsconv["parameters"]:,}', f'{dsconv["macs"]:,}', '2', '85.00 ± 7.07', '-', '-', '100.5', '1', '250'
    ]  # fmt: skip
    assert other[:6] == [
        'resnet8', f'{resnet8["parameters"]:,}', f'{resnet8["macs"]:,}', '2', '70.00 ± 0.00', '−15.00'
    ]  # fmt: skip
    assert other[-2:] == ['-', '-']
    assert 'Published' not in text and result['published'] == []  # digits are not CIFAR-10
    figures = tomllib.loads(comparison.PUBLISHED.read_text())['figures']
    monkeypatch.setattr(comparison, 'PUBLISHED_ON', 'digits')
    result = comparison.summarise(*study_and_cells(tmp_path)) | MEASURED
    assert result['published'] == [figure for figure in figures if figure['model'] in ('dsconv', 'resnet8')]
    text = comparison.as_text(result)
    assert 'Published: test accuracies on the original CIFAR-10 by recipes of their own' in text
    assert 'MLPerf Tiny' in text
    assert comparison.draw(result).startswith(b'\x89PNG')


@pytest.mark.parametrize(
    'figure', tomllib.loads(comparison.PUBLISHED.read_text())['figures'], ids=lambda one: one['name']
)
def test_published_results_are_of_networks_as_large_as_ours(figure):
    assert set(figure) == {'model', 'name', 'accuracy', 'parameters', 'macs', 'source'}
    assert 50 < figure['accuracy'] < 100
    file = f'configs/{figure["name"].split()[-1].lower()}.py' if figure['model'] == 'dsconv' else 'configs/small.py'
    config = configuration.load(file, [f'model.name={figure["model"]}', 'dataset.class_names=a,b,c,d,e,f,g,h,i,j'])
    rows = layer_costs(build_network(config), (32, 32, 3))
    assert figure['parameters'] == sum(row.parameters for row in rows)
    assert figure['macs'] == sum(row.macs for row in rows)


def test_a_network_that_the_data_refuses_is_not_measured(tmp_path, monkeypatch):
    cells = make_cells(
        of_models('dsconv,resnet8', MODELS), 'configs/digits.py', [*OVERRIDES, 'model.patch_size=3'], (0,), tmp_path
    )
    monkeypatch.setattr(comparison, 'measure_latency', list)
    assert comparison.measure(cells)['latency'] == ['resnet8']
