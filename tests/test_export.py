"""Tests exported files in their own runtimes, in this process; the page in a browser; wrong input."""

import base64
import hashlib
import itertools
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import dsconv
from dsconv import config as configuration
from dsconv import data, export
from dsconv.errors import InputError
from dsconv.exported import open_exported
from dsconv.exporting import FORMATS, bundle, check, micro, web_page
from tests.browser import CHROMIUM, Browser, served
from tests.commands import python, run

litert = pytest.importorskip('dsconv.exporting.litert', reason='requirements-export.txt is not installed')


@pytest.fixture(scope='module')
def validation(finished_run):
    """(uint8 images, labels, JAX's probabilities) of the validation split of `finished_run`."""
    split = data.open_source(configuration.load_run(finished_run).dataset).load('validation')
    images = split.images(np.arange(split.num_examples))
    return images, split.labels, dsconv.load(finished_run)(images)


@pytest.fixture(scope='module')
def exported(finished_run, tmp_path_factory):
    """The directory of an export in every format except web; int8 may lose much accuracy, since the run is tiny."""
    output = tmp_path_factory.mktemp('export') / 'out'
    flags = ['--format=litert,onnx,stablehlo,safetensors,c', '--precision=float32,float16,int8', '--largest-loss=20']
    flags += ['--calibration-pictures=60', '--licence=MIT']
    converted, convert = [], litert.to_litert
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(litert, 'to_litert', lambda graph: converted.append(graph[0].dtype) or convert(graph))
        patch.setattr(check, 'SECONDS', 0.001)
        assert run(export, [f'--workdir={finished_run}', f'--output={output}', *flags]) == 0
    assert converted == [np.uint8, np.float32]  # once for float32 and float16, once for int8 and C
    return output


def test_the_report_is_of_all_files_on_the_validation_part(exported, validation):
    from safetensors.numpy import load_file

    _, labels, reference = validation
    report = json.loads((exported / 'export.json').read_text())
    names = {'model.tflite', 'model.float16.tflite', 'model.int8.tflite', 'model.onnx', 'model.stablehlo'}
    names |= {'model.safetensors', 'model.cc'}
    assert {file['file'] for file in report['files']} == names
    assert (report['checked_on'], report['pictures']) == ('the validation split of digits', len(labels))
    for file in report['files']:
        assert file['bytes'] == (exported / file['file']).stat().st_size
        if file['precision'] == 'float32':
            assert file['max_difference'] < 1e-5
            assert file['accuracy'] == pytest.approx(np.mean(reference.argmax(1) == labels))
    assert 'params/head/kernel' in load_file(exported / 'model.safetensors')
    assert (exported / 'labels.txt').read_text().split() == list('0123456789')
    readme = (exported / 'README.md').read_text()
    assert readme.startswith('---\nlicense: mit\n') and 'Licence: MIT.' in readme and report['licence'] == 'MIT'
    assert all(f'| {name} ' in readme for name in names)


@pytest.mark.parametrize('name', ['model.tflite', 'model.onnx', 'model.float16.tflite', 'model.int8.tflite'])
def test_a_file_is_opened_by_itself(exported, validation, name):
    images, _, reference = validation
    network = open_exported(exported / name)
    assert (network.class_names, network.image_size, network.channels) == (tuple('0123456789'), 8, 1)
    tolerance = {'model.float16.tflite': 1e-2, 'model.int8.tflite': 0.15}.get(name, 1e-5)
    np.testing.assert_allclose(network(images[:40]), reference[:40], atol=tolerance)
    assert network(images[:0]).shape == (0, 10)
    assert network([images[0], np.kron(images[1], np.ones((2, 2, 1), np.uint8))]).shape == (2, 10)  # resized to 8×8


def test_a_file_is_scored_and_classifies_without_jax(exported, finished_run, tmp_path):
    (tmp_path / 'jax.py').write_text('raise ImportError("jax is not to be imported")')
    picture = tmp_path / 'picture.png'
    Image.fromarray(np.full((8, 8), 100, np.uint8)).save(picture)

    def by_command(command, *words):
        line = ['-m', f'dsconv.{command}', f'--model={exported / "model.tflite"}', *words]
        done = python(*line, PYTHONPATH=f'{tmp_path}:{configuration.ROOT}')
        assert not done.returncode, done.stderr
        return done.stdout

    named = json.loads(by_command('predict', '--json', str(picture)))['classes']
    by_run = dsconv.load(finished_run)([picture])[0]
    assert list(named.values()) == pytest.approx(sorted(by_run, reverse=True)[:5], abs=1e-5)
    by_command('evaluate', f'--output={tmp_path / "report"}')
    paths = tmp_path / 'report' / 'report.json', finished_run / 'report' / 'report.json'
    scored, own = (json.loads(path.read_text()) for path in paths)
    assert (scored['accuracy'], scored['data_fingerprint']) == (own['accuracy'], own['data_fingerprint'])


def test_the_int8_file_computes_in_integers_alone(exported):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(exported / 'model.int8.tflite'))
    ends = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    scales = (pytest.approx(1 / 255), 0), (1 / 256, 0)
    assert [(end['dtype'], end['quantization']) for end in ends] == [(np.uint8, scale) for scale in scales]
    dtypes = {tensor['dtype'] for tensor in interpreter.get_tensor_details() if tensor['name']}
    assert dtypes <= {np.uint8, np.int8, np.int32}


def test_the_array_in_c_is_the_file(exported):
    file = micro.from_c((exported / 'model.cc').read_text())
    assert file == (exported / 'model.int8.tflite').read_bytes()
    assert f'g_model_len = {len(file)};' in (exported / 'model.cc').read_text()
    needs = micro.needs(file)
    assert needs['missing'] == ['GELU']
    assert needs['operators']['DEPTHWISE_CONV_2D'] == 3  # including the stem, which has one channel
    # A residual sum and its two terms, 8×8 positions of 8 channels each, are in memory at once.
    assert needs['peak_bytes'] == needs['arena_bytes'] == 3 * 8 * 8 * 8


def test_a_file_that_disagrees_is_an_error_after_the_table_and_leaves_nothing(
    finished_run, tmp_path, monkeypatch, capsys
):
    from dsconv.exporting import onnx_file

    real = onnx_file.to_onnx

    def broken(graph, facts):
        graph[-2].inputs[2] = graph[-2].inputs[2] + np.linspace(0, 3, 10, dtype=np.float32)
        return real(graph, facts)

    monkeypatch.setattr(onnx_file, 'to_onnx', broken)
    monkeypatch.setattr(check, 'SECONDS', 0.001)
    line = [f'--workdir={finished_run}', '--format=onnx', f'--output={tmp_path / "out"}']
    code, output, errors = run(export, line, capsys)
    assert code == 1 and 'model.onnx: a probability differs by 0.' in errors
    assert '| model.onnx | float32 ' in output
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_refused_by_a_path_that_begins_with_a_tilde(tmp_path, monkeypatch):
    (tmp_path / 'damaged.onnx').write_bytes(b'no onnx')
    monkeypatch.setenv('HOME', str(tmp_path))
    with pytest.raises(InputError, match='has no checksum'):
        open_exported('~/damaged.onnx')
    with pytest.raises(InputError, match='; the directory holds damaged.onnx'):
        open_exported('~')


def test_a_runtime_is_quiet_where_stderr_is_closed():
    code = 'import os; os.close(2); from dsconv.exported import quiet_runtime\nwith quiet_runtime(): print("ran")'
    assert python('-c', code).stdout == 'ran\n'


@pytest.mark.parametrize('name', ['model.tflite', 'model.onnx'])
def test_a_file_of_which_one_bit_is_another_is_refused(exported, tmp_path, name):
    content = (exported / name).read_bytes()
    for place in (100, content.index(b'class_names') + 20, len(content) - 9):
        damaged = bytearray(content)
        damaged[place] ^= 1
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(InputError, match='is damaged'):
            open_exported(tmp_path / name)


def test_what_is_not_there_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'dist').mkdir()
    for name in web_page.RUNTIME:
        (tmp_path / 'dist' / name).write_bytes(b'of another version')
    monkeypatch.setitem(FORMATS, 'stablehlo', (('nobody',), ('float32',)))
    for line, message in (
        (['--output=.'], ': \\. already exists'),
        (['--format=web'], 'npm pack onnxruntime-web@1.30.0'),
        (['--format=web', '--runtime=.'], 'not that of onnxruntime-web'),
        (['--precision=int8', '--config.dataset.archive=missing.tar.gz'], 'real pictures.*missing.tar.gz'),
        (['--config.dataset.name=digits'], 'dataset.data_dir, dataset.archive'),
        (['--format=onnx', '--precision=int8'], 'is written in float32'),
        (['--format=onnx', '--precision=float32,int8'], '--precision=int8 has no effect on --format=onnx'),
        (['--format=c', '--precision=float32,int8'], '--precision=float32 has no effect on --format=c'),
        (['--precision=int8', '--float-input'], '--float-input has no effect'),
        (['--pictures=.', '--config.dataset.archive=a'], 'leave --config.dataset.archive=a out'),
        (['--format=stablehlo'], 'needs nobody.*requirements-export.txt'),
        (['--format=onx'], "'onx' is not one of"),
        (['--licence=my own'], 'SPDX'),
    ):
        code, _, errors = run(export, ['--workdir=pretrained/small', *line], capsys)
        assert code == 2 and re.search(message, errors), errors
    assert [entry.name for entry in tmp_path.iterdir()] == ['dist']


def test_pictures_to_calibrate_by_are_read_for_a_file_in_int8_alone(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(check, 'find_pictures', lambda *given: asked.append(given[-1]) or 1 / 0)
    for flags in (['--format=onnx'], ['--format=onnx,litert', '--precision=float32,int8']):
        with pytest.raises(ZeroDivisionError):
            run(export, ['--workdir=pretrained/small', f'--output={tmp_path / "out"}', *flags])
    assert asked == [0, 500]


def test_many_pictures_are_not_one_batch():
    sizes, images = [], np.random.default_rng(0).integers(0, 256, (230, 2, 2, 1), np.uint8)
    answers = bundle._in_batches(lambda images: sizes.append(len(images)) or images.reshape(-1, 4), images)
    assert np.array_equal(answers, images.reshape(-1, 4))
    assert sizes == [77, 77, 76]


PREPARE = """import('./picture.js').then(module => {{
    const rgba = Uint8ClampedArray.from(atob('{pixels}'), letter => letter.charCodeAt(0));
    return Array.from(module.prepare(rgba, {width}, {height}, {size}, {channels}, '{resize}'));
}})"""


@pytest.mark.skipif(CHROMIUM is None, reason='Chromium is not installed')
def test_the_page_prepares_pictures_as_pillow_does(tmp_path):
    generator = np.random.default_rng(0)
    for name in web_page.PAGES:
        (tmp_path / name).write_bytes((web_page.SOURCES / name).read_bytes())
    with served(tmp_path) as address, Browser() as tab:
        tab.go(address)
        tab.wait_for('document.body !== null')
        sizes = ((50, 37, 32, 3), (9, 64, 32, 1), (8, 8, 24, 3))
        for (width, height, size, channels), resize in itertools.product(sizes, ('squash', 'crop', 'pad')):
            pixels = generator.integers(0, 256, (height, width, 4), np.uint8)
            picture = Image.fromarray(pixels[..., :3])
            text = base64.b64encode(pixels.tobytes()).decode()
            shape = dict(width=width, height=height, size=size, channels=channels)
            script = PREPARE.format(pixels=text, resize=resize, **shape)
            prepared = np.array(tab.value(script), np.float32).reshape(size, size, channels)
            # Some versions of Pillow do the shorter pass first, which rounds a few pixels differently.
            np.testing.assert_allclose(prepared, np.float32(data.picture.fit(picture, size, channels, resize)), atol=1)


@pytest.mark.skipif(CHROMIUM is None, reason='Chromium is not installed')
def test_the_page_names_what_python_names_also_offline(tmp_path, monkeypatch):
    from tests.drills import exports

    monkeypatch.setattr(check, 'SECONDS', 0.001)
    shown = exports.page(tmp_path)  # asserts that the page and Python name the same classes
    if isinstance(shown, str):
        pytest.skip(shown)
    assert set(shown) == {'picture', 'camera', 'offline'}


def test_the_worker_keeps_every_file_of_the_page(tmp_path):
    web_page.write(tmp_path / 'web', b'network', {'title': 'a'}, dict.fromkeys(web_page.RUNTIME, b'x'))
    worker = (tmp_path / 'web' / 'worker.js').read_text()
    files = {path.name for path in (tmp_path / 'web').iterdir()} - {'worker.js'}
    assert all(f"'{name}'" in worker for name in files)
    assert 'FILE_NAMES' not in worker


@pytest.mark.skipif(CHROMIUM is None, reason='Chromium is not installed')
def test_a_new_export_replaces_the_kept_files_of_its_own_page_alone(tmp_path):
    def visit(tab, folder, network):
        shutil.rmtree(tmp_path / folder, ignore_errors=True)
        web_page.write(tmp_path / folder, network, {'title': 'a'}, dict.fromkeys(web_page.RUNTIME, b'x'))
        tab.go(f'{address}{folder}/')
        tab.wait_for(f"location.pathname === '/{folder}/' && document.readyState === 'complete'")
        tab.value("navigator.serviceWorker.register('worker.js').then(worker => worker.update())")
        text = f"caches.match('/{folder}/model.onnx').then(found => found?.text())"
        tab.wait_for(f"{text}.then(text => text === '{network.decode()}')")
        return tab.value('caches.keys()')

    with served(tmp_path) as address, Browser() as tab:
        assert [len(visit(tab, *page)) for page in (('one', b'A'), ('two', b'B'))] == [1, 2]
        visit(tab, 'one', b'C')
        tab.wait_for('caches.keys().then(names => names.length === 2)')
        assert tab.value("caches.match('/two/model.onnx').then(found => found.text())") == 'B'


def test_files_may_take_floats(finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr(check, 'SECONDS', 0.001)
    line = [f'--workdir={finished_run}', '--format=onnx,stablehlo', '--float-input', f'--output={tmp_path / "out"}']
    assert run(export, line) == 0  # the export compares each file with JAX
    assert open_exported(tmp_path / 'out' / 'model.onnx').metadata['input'] == 'float32'


def test_the_runtime_of_browsers_is_read_from_a_folder_or_an_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(web_page, 'RUNTIME', dict.fromkeys(web_page.RUNTIME, hashlib.sha256(b'x').hexdigest()))
    (tmp_path / 'package' / 'dist').mkdir(parents=True)
    for name in web_page.RUNTIME:
        (tmp_path / 'package' / 'dist' / name).write_bytes(b'x')
    shutil.make_archive(str(tmp_path / 'runtime'), 'gztar', tmp_path, 'package')
    for place in (tmp_path / 'package', tmp_path / 'runtime.tar.gz'):
        assert web_page.read_runtime(place) == dict.fromkeys(web_page.RUNTIME, b'x')
