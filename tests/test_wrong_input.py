"""Tests wrong settings, data, pictures, runs and permissions: one line, exit code 2, and no file changed."""

import gc
import importlib
import io
import json
import os
import pickle
import shutil
import sys

import pytest
from PIL import Image

from dsconv import evaluate, main, predict
from tests import commands
from tests.commands import DIGITS

PICKLE = pickle.dumps({'accuracy': 1})


def png(width, height):
    """Returns a black PNG."""
    Image.new('1', (width, height)).save(file := io.BytesIO(), 'PNG')
    return file.getvalue()


PNG = png(8, 8)
TWO = {f'pictures/{name}/{number}.png': PNG for name in ('cat', 'dog') for number in range(10)}


def build(root, tree):
    """Makes files (bytes), links (str, the target) and directories (None), by path."""
    for path, content in tree.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            (root / path).mkdir(parents=True)
        elif isinstance(content, str):
            (root / path).symlink_to(content)
        else:
            (root / path).write_bytes(content)


def contents(root) -> dict:
    """Returns path → content: the bytes of a readable file, the target of a link, or None."""
    found = {path: os.readlink(path) if path.is_symlink() else None for path in root.rglob('*')}
    readable = [path for path, target in found.items() if not target and path.is_file() and os.access(path, os.R_OK)]
    return found | {path: path.read_bytes() for path in readable}


def set_config(group, key, value):
    """Returns a function that changes a value in a run's config.json."""

    def damage(run):
        written = json.loads((run / 'config.json').read_text())
        written['config'][group][key] = value
        (run / 'config.json').write_text(json.dumps(written))

    return damage


@pytest.fixture
def refuse(finished_run, tmp_path, monkeypatch, capsys):
    """Runs a command next to the workdir `run`; it must fail with one line that has all `words`, and change no file.

    Returns its stdout.
    """
    shutil.copytree(finished_run, tmp_path / 'run')
    monkeypatch.chdir(tmp_path)

    def refused(module, line, *words):
        before = contents(tmp_path)
        sys.stderr.reconfigure(errors='backslashreplace')  # as it is outside of tests
        line = [*(DIGITS if module is main else []), *line]
        code, output, errors = commands.run(module, line, capsys)
        if 'cannot be restored' in errors:
            gc.collect()  # otherwise, objects left by Orbax would report the damage in another test
            capsys.readouterr()
        assert errors.startswith(f'python -m {module.__name__}: error: '), errors
        assert (code, errors.count('\n')) == (2, 1), errors
        assert [word for word in words if word not in errors] == [], errors
        assert contents(tmp_path) == before
        return output

    return refused


CONFIG, NAME = '--config=configs/digits.py', '--config.dataset.name=image_folder:pictures'
FOLDER, PREDICT = f'main --config.batch_size=8 --workdir=new {NAME}', 'predict --workdir=run right.png'
DATA, ONNX = '--config.dataset.data_dir=', 'export --workdir=run --format=onnx'
# Files made next to a run, or a function that damages it; the command; texts in its error line.
CASES = {
    'no such folder': ({'picture': None}, FOLDER, 'pictures: does not exist', 'did you mean picture?'),
    'no such split of a folder': (
        {f'pictures/{part}/{name}/1.png': PNG for part in ('train', 'test') for name in ('cat', 'dog')},
        f'main --workdir=new {NAME} --config.dataset.splits=train=train,test=tset', 'no split tset; did you mean'),
    'a column for digits': ({}, 'main --config.dataset.label_key=x', 'dataset.label_key=x has no effect on digits'),
    'no such table': (
        {'train.csv': b''}, 'main --workdir=new --config.dataset.name=image_table:trian.csv', 'you mean train.csv?'),
    'a file for a class': ({'pictures/cat/1.png': PNG, 'pictures/dog': PNG}, FOLDER, 'has 1 class folder(s), needs 2'),
    'empty classes': ({'pictures/cat': None, 'pictures/dog': None}, FOLDER, '0 of its 2 classes have a readable'),
    'bytes that are no text': (TWO | {'pictures/two\n\udcff': '/no/where'}, FOLDER, r'two \udcff: this link is broken'),
    'too large to train on': (dict.fromkeys(TWO, png(5000, 5000)), FOLDER, 'of 5000x5000 pixels', 'image_size=32'),
    'a class of broken pictures': (
        {f'pictures/cat/{number}.png': PNG for number in range(100)} | {'pictures/dog/x.png': b''}, FOLDER,
        '1 of its 2 classes have a readable picture', 'dog/x.png: is not a picture'),
    'fewer epochs': ({}, 'main --workdir=run --config.epochs=2', 'epochs=2 ends at step 38, but run has been'),
    'a file for a workdir': ({'file': b''}, 'main --workdir=file', 'file cannot be made or written to: File exists'),
    'a trace into a bucket': ({}, 'main --workdir=gs://b/run --profile=3', '--profile writes only to a local'),
    'data in a file': ({'file': b''}, f'main --config.dataset.name=cifar10 {DATA}file', 'cifar10', 'in file'),
    'data that are a pickle': (
        {'prepared/cifar10/3.0.2/dataset_info.json': PICKLE}, f'main --config.dataset.name=cifar10 {DATA}prepared',
        'cifar10', 'prepared'),
    'other channels than the network': (
        {}, 'main --workdir=new --config.init_from=run --config.dataset.channels=3', 'but init_from=run takes 1'),
    'a teacher that is not there': (
        {}, 'main --workdir=new --config.loss.teachers=run,rum', 'loss.teachers=rum: rum is not a directory', 'run?'),
    'the speed of a teacher': (
        {}, 'benchmark --what=feed --config=configs/digits.py --config.loss.teachers=run', 'loss.teachers=none'),
    'a weight of no teacher': (
        {}, 'main --workdir=new --config.loss.teacher_weight=1', 'loss.teachers=none does not take it'),
    'a link for a network': ({'link': '/no/where'}, 'publish --workdir=run --output=link', 'link already exists: use'),
    'a file above a network': ({'file': b''}, 'publish --workdir=run --output=file/x', 'file is not a directory'),
    'two forms of answers': ({}, 'predict --workdir=run --output=x.csv --top=2 right.png', '--json and --top cannot'),
    'int8 of no int8': ({}, f'{ONNX} --largest-loss=0', 'need --precision=int8: add it'),
    'a runtime of no page': ({}, f'{ONNX} --runtime=x', '--runtime needs'),
    'no such pictures': ({'picture': None}, f'{ONNX} --pictures=pictures', 'does not exist; did you mean picture?'),
    'a broken picture to check on': ({'shots/a.png': PNG[:40]}, f'{ONNX} --pictures=shots', 'shots/a.png'),
    'a directory for an estimate': ({'x': None}, f'preflight {CONFIG} --topology=v3-8 --output=x', 'x is a directory'),
    'a place without its section': ({}, 'evaluate --workdir=run --data_dir=x', '--config.dataset.data_dir?'),
    'a checkpoint of no step': ({}, 'evaluate --workdir=run --checkpoint=²', '--checkpoint=²: not available'),
    'no channels': (set_config('dataset', 'channels', None), PREDICT, 'dataset.channels=none must be set in a run'),
    'no patches': (set_config('model', 'patch_size', 3), PREDICT, 'model.patch_size=3 does not divide images of 8×8'),
    'another network': (set_config('model', 'dim', 16), PREDICT, 'cannot be restored', 'config.json does not match'),
    'a deeply nested config': (
        lambda run: (run / 'config.json').write_text('[' * 10_000), 'evaluate --workdir=run', 'config.json is damaged'),
    'metadata that are pickles': (
        lambda run: [file.write_bytes(PICKLE) for file in run.rglob('_METADATA') if file.is_file()], PREDICT,
        'cannot be restored', '--checkpoint'),
    'no checkpoint': (
        lambda run: [shutil.rmtree(run / 'checkpoints'), (run / 'checkpoints').mkdir()], PREDICT, 'no checkpoint yet'),
    'a run twice': ({}, 'report --workdirs run run/../run --output=page', 'run/../run is named twice'),
    "a run's report for a page": ({}, 'report --workdirs run --output=run/report', "is a run's own report"),
    'no such study': ({}, f'ablate {CONFIG} --study=kernels', 'no such study or file; did you mean kernel_size?'),
    'folds without pictures': (
        TWO, 'ablate --config=configs/pictures.py:pictures --study=as_it_is --folds=40 --dry-run',
        'none of the 20 examples is left for'),
    'the place of another study': (
        {'out/study.json': b'{"study": "depth"}'}, f'ablate {CONFIG} --study=dim --output=out',
        '--output=out contains the study depth'),
    'no such network': ({'model.onnx': b''}, 'predict --model=modle.onnx a.png', 'no such file; did you mean model'),
    'a run for a file': ({}, 'predict --model=run --tta right.png', 'run must be a .tflite or .onnx file'),
    'views of a file': ({'model.onnx': b''}, 'predict --model=model.onnx --tta a.png', 'an exported file: test-time'),
    'a checkpoint of a file': (
        {'model.onnx': b''}, 'predict --model=model.onnx --checkpoint=best right.png', 'leave checkpoint=best out'),
    'a temperature of views': ({}, 'evaluate --workdir=run --tta --calibrate', '--calibrate fits the'),
    "another run's report": ({}, 'evaluate --workdir=pretrained/small --output=run/report', "is a run's own report"),
    "a run's report for that of views": (
        {}, 'evaluate --workdir=pretrained/small --tta --output=runs/published/small/report', 'own report'),
    'a directory for a file': ({}, 'evaluate --model=.', '. must be a .tflite or .onnx file'),
    'views of a file that is scored': ({}, 'evaluate --model=model.onnx --tta', '--tta needs a run: give its'),
    "a run's report for that of a file": ({}, 'evaluate --model=model.onnx --output=run/report', "a run's own report"),
    'a root of no table': ({}, 'evaluate --workdir=pretrained/small --config.dataset.root=.', 'root=. has no effect'),
    'a root of a run': ({}, 'evaluate --workdir=run --config.dataset.root=.', 'can set only dataset.data_dir'),
    'a sheet that is no picture': ({}, f'show_augment {CONFIG} --output=sheet.jpg', 'sheet.jpg must be a file that'),
    'a directory for a sheet': ({'x.png': None}, f'show_augment {CONFIG} --output=x.png', 'x.png must be a file that'),
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
def test_what_is_wrong_is_one_line(refuse, tmp_path, case):
    wrong, command, *words = CASES[case]
    name, *line = command.split(' ')
    if DATA in command:
        pytest.importorskip('tensorflow_datasets')
    build(tmp_path, {'right.png': PNG})
    wrong(tmp_path / 'run') if callable(wrong) else build(tmp_path, wrong)
    assert refuse(importlib.import_module(f'dsconv.{name}'), line, *words) == ''


def test_wrong_pictures_are_named_and_a_right_one_is_classified_all_the_same(refuse, tmp_path):
    wrong = {'pickle.png': PICKLE, 'bomb.png': png(20_000, 20_000)}
    build(tmp_path, wrong | {'right \udcff.png': PNG})
    os.mkfifo(tmp_path / 'a pipe')
    names = ['a pipe', *wrong, 'x\udcff\n.png', 'x' * 300]  # nobody writes to the pipe
    words = ('a pipe: is not a file; ', 'pickle.png: is not a picture', 'bomb.png: has too many pixels')
    words += ('.png: there is no such file; ', 'x: cannot be read (File name too long)')
    output = refuse(predict, ['--workdir=run', *names, 'right \udcff.png'], *words)
    assert output.startswith('right \\udcff.png: ') and output.count('\n') == 1


def test_a_bomb_is_one_line_and_no_warning_of_pillow(tmp_path):
    build(tmp_path, TWO | {f'pictures/dog/x{number}.png': png(12_000, 12_000) for number in range(4)})
    done = commands.python('-m', 'dsconv.main', *DIGITS, NAME, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (2, '', 1), done.stderr
    assert 'x0.png: has too many pixels (12000x12000, over ' in done.stderr


@pytest.mark.parametrize(
    ('locked', 'module', 'line', 'words'),
    [
        ('pictures/dog', main, ['--workdir=new', NAME], 'dog: Permission denied'),
        ('right.png', predict, ['--workdir=run', 'right.png'], 'right.png: cannot be read (Permission'),
        ('run/config.json', evaluate, ['--workdir=run'], 'run/config.json: Permission denied'),
        ('place', main, ['--workdir=place/new'], '--workdir=place/new cannot be made or written to: Perm'),
    ],
)  # fmt: skip
def test_what_may_not_be_opened(refuse, tmp_path, locked, module, line, words):
    build(tmp_path, TWO | {'right.png': PNG, 'place': None})
    mode = (tmp_path / locked).stat().st_mode
    (tmp_path / locked).chmod(0)
    try:
        if os.access(tmp_path / locked, os.R_OK):
            pytest.skip('this user may open everything')
        refuse(module, line, words)
    finally:
        (tmp_path / locked).chmod(mode)
