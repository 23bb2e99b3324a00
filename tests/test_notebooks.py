"""Executes the notebooks in their own directory, as the user's Jupyter does, and checks the claims of their text."""

import importlib.util
import json
import os
import re
import shutil
from zipfile import ZipFile

import jax
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image
from sklearn.datasets import load_digits

from dsconv import config as configuration
from tests.conftest import TINY

COLAB = configuration.ROOT / 'colab'
NAMES = ('train', 'evaluate', 'pictures')
ONE_EPOCH = TINY | {'epochs': '1', 'schedule.warmup_epochs': '0'}


def read(name):
    """Returns a notebook, the text of its cells, and its code cells."""
    notebook = nbformat.read(COLAB / f'{name}.ipynb', as_version=4)
    text = '\n'.join(cell.source for cell in notebook.cells)
    return notebook, text, [cell for cell in notebook.cells if cell.cell_type == 'code']


def execute(name, **parameters):
    """Executes a notebook with other parameters; returns its printed text, and the pictures and pages that it shows."""
    notebook, _, code = read(name)
    (cell,) = (cell for cell in code if 'parameters' in cell.metadata.get('tags', ()))
    cell.source = '\n'.join([cell.source, *(f'{key} = {value!r}' for key, value in parameters.items())])
    hosts = ('KAGGLE_KERNEL_RUN_TYPE', 'COLAB_RELEASE_TAG')
    environment = {key: value for key, value in os.environ.items() if key not in hosts}
    environment['XLA_FLAGS'] = '--xla_backend_optimization_level=0'  # one device
    environment['JAX_COMPILATION_CACHE_DIR'] = jax.config.jax_compilation_cache_dir
    client = NotebookClient(notebook, timeout=600, kernel_name='python3', resources={'metadata': {'path': COLAB}})
    client.execute(env=environment)
    outputs = [output for cell in code for output in cell.outputs]
    text = ''.join(output.text for output in outputs if output.output_type == 'stream')
    return text, [output.data for output in outputs if 'data' in output]


def flags(**changes):
    return ' '.join(f'--config.{key}={value}' for key, value in (ONE_EPOCH | changes).items())


def test_train_trains_and_shows_curves_and_confusion_matrix(tmp_path):
    text, shown = execute('train', folder=str(tmp_path), overrides=flags())
    report = json.loads((tmp_path / 'digits' / 'report' / 'report.json').read_text())
    assert report['checkpoint_step'] == 19
    assert f'test: accuracy {100 * report["accuracy"]:.2f} %' in text
    assert ['image/png' in data for data in shown] == [True, True]


def test_evaluate_restores_a_checkpoint_reports_names_a_picture_and_exports(finished_run, tmp_path):
    workdir = shutil.copytree(finished_run, tmp_path / 'run')
    pixels = np.uint8(load_digits().images[0] * 255 / 16)
    Image.fromarray(pixels).resize((64, 64)).save(tmp_path / 'zero.png')
    text, shown = execute('evaluate', workdir=str(workdir), picture=str(tmp_path / 'zero.png'))
    own, report = (json.loads((run / 'report' / 'report.json').read_text()) for run in (finished_run, workdir))
    assert own | {'command': report['command']} == report and report['calibration']
    assert f'checkpoint of step {report["checkpoint_step"]}: accuracy {100 * report["accuracy"]:.2f} %' in text
    assert re.search(r'zero\.png: (\d \(\d+\.\d %\)(, )?){5}', text)
    page, picture = shown
    assert 'srcdoc=' in page['text/html'] and 'image/png' in picture
    if any(importlib.util.find_spec(package) is None for package in ('litert_converter', 'onnxruntime')):
        assert 'pip install -r requirements-export.txt' in text
    else:
        assert {'model.tflite', 'model.onnx', 'labels.txt'} <= set(ZipFile(workdir / 'export.zip').namelist())


def test_pictures_are_unpacked_trained_on_from_a_trained_network_and_new_ones_named(
    finished_run, tmp_path, write_pictures
):
    root = write_pictures(classes=('reds', 'blues'), size=32, root="Anna's photos")
    shutil.make_archive(str(root), 'zip', root)
    quick = {'batch_size': 8, 'dataset.image_size': 8, 'augment.mix_probability': 0, 'optimizer.name': 'adamw'}
    text, shown = execute(
        'pictures',
        pictures=str(tmp_path / "Anna's photos.zip"),
        new_pictures=str(tmp_path / "Anna's photos" / 'reds'),
        start=str(finished_run),
        folder=str(tmp_path / 'runs'),
        overrides=flags(**quick, **{'model.kernel_size': 3}),
    )
    workdir = tmp_path / 'runs' / "pictures-Anna's photos"
    assert f'starts from {finished_run}' in text and '10 of 10 pictures classified' in text
    assert json.loads((workdir / 'report' / 'report.json').read_text())['class_names'] == ['blues', 'reds']
    *_, page, table = shown
    assert 'srcdoc=' in page['text/html'] and table['text/html'].count('.png') == 10


@pytest.mark.parametrize('name', NAMES)
def test_cells_are_thin_keep_no_outputs_and_name_settings_and_modules_that_exist(name):
    _, text, cells = read(name)
    for cell in cells:
        assert (cell.outputs, cell.execution_count) == ([], None)
        assert len(cell.source.splitlines()) <= 12
        assert not re.search(r'^\s*(def|class|for|while) ', cell.source, re.MULTILINE)
    keys = configuration.flatten(configuration.defaults())
    assert all(key in keys for key in re.findall(r'--config\.([\w.]+)', text))
    commands = [f'dsconv.{command}' for command in re.findall(r'\{DSCONV\}\.(\w+)', text)]
    modules = [*commands, *re.findall(r'(?:from|-m) (dsconv[\w.]*\w)', text)]
    assert modules and all(importlib.util.find_spec(module) for module in modules)


def test_sizes_to_choose_from_are_configs():
    (sizes,) = re.findall(r'^size = .*@param (\[.*\])', read('train')[1], re.M)
    assert all((configuration.ROOT / 'configs' / f'{size}.py').exists() for size in json.loads(sizes))


def test_badges_and_install_cells_name_one_repository():
    (repository,) = re.findall(r'git clone .*https://github\.com/(\S+)', read('train')[1])
    for name in NAMES:
        _, text, _ = read(name)
        badges = re.findall(r'research\.google\.com/github/(.+?)/blob/main/(.+?)\)', text)
        assert badges == [(repository, f'colab/{name}.ipynb')]
        assert re.findall(r'git clone .*https://github\.com/(\S+)', text) == [repository]
