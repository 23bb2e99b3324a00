"""The notebooks, executed as a person's Jupyter would in their own directory, and what they promise in writing."""

import importlib.util
import json
import os
import re
import shutil
from zipfile import ZipFile

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
OVERRIDES = ' '.join(f'--config.{key}={value}' for key, value in TINY.items())


def read(name):
    return nbformat.read(COLAB / f'{name}.ipynb', as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == 'code']


def execute(name, **parameters):
    """Executes a notebook with parameters of one's own ; its text, and the pictures and pages that it shows."""
    notebook = read(name)
    (cell,) = (cell for cell in notebook.cells if 'parameters' in cell.metadata.get('tags', ()))
    cell.source = '\n'.join([cell.source, *(f'{key} = {value!r}' for key, value in parameters.items())])
    elsewhere = ('XLA_FLAGS', 'KAGGLE_KERNEL_RUN_TYPE', 'COLAB_RELEASE_TAG')
    environment = {key: value for key, value in os.environ.items() if key not in elsewhere}
    client = NotebookClient(notebook, timeout=600, kernel_name='python3', resources={'metadata': {'path': COLAB}})
    client.execute(env=environment)
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    text = ''.join(output.text for output in outputs if output.output_type == 'stream')
    return text, [output.data for output in outputs if 'data' in output]


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The workdir of a tiny run that the notebook has trained, what it printed, what it showed."""
    folder = tmp_path_factory.mktemp('runs')
    text, shown = execute('train', folder=str(folder), overrides=f'{OVERRIDES} --config.epochs=2')
    return folder / 'digits', text, shown


def test_train_trains_and_shows_curves_and_confusion_matrix(trained):
    workdir, text, shown = trained
    report = json.loads((workdir / 'report' / 'report.json').read_text())
    assert report['checkpoint_step'] == 38
    assert f'test: accuracy {100 * report["accuracy"]:.2f} %' in text
    assert ['image/png' in data for data in shown] == [True, True]


def test_evaluate_restores_reports_and_names_a_picture(trained, tmp_path):
    workdir, *_ = trained
    pixels = np.uint8(load_digits().images[0] * 255 / 16)
    Image.fromarray(pixels).resize((64, 64)).save(tmp_path / 'zero.png')
    text, shown = execute('evaluate', workdir=str(workdir), checkpoint='19', picture=str(tmp_path / 'zero.png'))
    report = json.loads((workdir / 'report' / 'report.json').read_text())
    assert f'checkpoint of step 19: accuracy {100 * report["accuracy"]:.2f} %' in text
    assert re.search(r'zero\.png: (\d \d+\.\d %(, )?){5}', text)
    page, picture = shown
    assert 'srcdoc=' in page['text/html'] and 'image/png' in picture
    if any(importlib.util.find_spec(package) is None for package in ('litert_converter', 'onnxruntime')):
        assert 'pip install -r requirements-export.txt' in text
    else:
        assert {'model.tflite', 'model.onnx', 'labels.txt'} <= set(ZipFile(workdir / 'export.zip').namelist())


def test_pictures_are_unpacked_trained_on_from_a_trained_network_and_new_ones_named(trained, tmp_path):
    start, *_ = trained
    quick = 'epochs=2', 'batch_size=8', 'dataset.image_size=8', 'augment.mix_probability=0', 'optimizer.name=adamw'
    for index, (name, color) in enumerate([('reds', 'red'), ('blues', 'blue')] * 10):
        picture = tmp_path / 'my photos' / name / f'{index}.png'
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (32, 32), color).save(picture)
        Image.effect_noise((32, 32), 9 + index).save(picture.with_name(f'{index}-noise.png'))
    shutil.make_archive(str(tmp_path / 'my photos'), 'zip', tmp_path / 'my photos')
    text, shown = execute(
        'pictures',
        pictures=str(tmp_path / 'my photos.zip'),
        new_pictures=str(tmp_path / 'my photos' / 'reds'),
        start=str(start),
        folder=str(tmp_path / 'runs'),
        overrides=' '.join([OVERRIDES, *(f'--config.{change}' for change in (*quick, 'model.kernel_size=3'))]),
    )
    workdir = tmp_path / 'runs' / 'pictures-my photos'
    assert f'starts from {start}' in text and '20 of 20 pictures classified' in text
    assert json.loads((workdir / 'report' / 'report.json').read_text())['class_names'] == ['blues', 'reds']
    *_, page, table = shown
    assert 'srcdoc=' in page['text/html'] and table['text/html'].count('.png') == 20


@pytest.mark.parametrize('name', NAMES)
def test_nothing_that_was_executed_is_kept(name):
    for cell in code_cells(read(name)):
        assert (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.parametrize('name', NAMES)
def test_cells_are_thin(name):
    for cell in code_cells(read(name)):
        assert len(cell.source.splitlines()) <= 12
        assert not re.search(r'^\s*(def|class|for|while) ', cell.source, re.MULTILINE)


@pytest.mark.parametrize('name', NAMES)
def test_settings_and_modules_that_are_named_exist(name):
    text = '\n'.join(cell.source for cell in read(name).cells)
    keys = configuration.flatten(configuration.defaults())
    assert all(key in keys for key in re.findall(r'--config\.([\w.]+)', text))
    commands = [f'dsconv.{command}' for command in re.findall(r'\{DSCONV\}\.(\w+)', text)]
    modules = [*commands, *re.findall(r'(?:from|-m) (dsconv[\w.]*\w)', text)]
    assert modules and all(importlib.util.find_spec(module) for module in modules)


def test_sizes_to_choose_from_are_configs():
    (sizes,) = re.findall(r'^size = .*@param (\[.*\])', '\n'.join(cell.source for cell in read('train').cells), re.M)
    assert all((configuration.ROOT / 'configs' / f'{size}.py').exists() for size in json.loads(sizes))


def test_badges_and_install_cells_name_one_repository():
    texts = {name: '\n'.join(cell.source for cell in read(name).cells) for name in NAMES}
    badges = {name: re.findall(r'research\.google\.com/github/(.+?)/blob/main/(.+?)\)', texts[name]) for name in NAMES}
    repositories = {name: re.findall(r'git clone .*https://github\.com/(\S+)', texts[name]) for name in NAMES}
    (repository,) = repositories['train']
    assert all(repositories[name] == [repository] for name in NAMES)
    assert all(badges[name] == [(repository, f'colab/{name}.ipynb')] for name in NAMES)
