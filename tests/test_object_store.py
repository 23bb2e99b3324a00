"""Tests runs in an object store, with the clients of TensorFlow and TensorStore on `tests/object_store.py`."""

import json
import logging
import os

import jax
import numpy as np
import pytest
from PIL import Image

from dsconv import config as configuration
from dsconv import data, evaluate, predict, report
from dsconv.config_checks import resolve
from dsconv.data.unlabelled import find_pictures
from dsconv.errors import InputError, RunError
from dsconv.files import make_directory, replace_file, to_path
from dsconv.reporting import MetricsLog, read_metrics
from dsconv.training import loop
from dsconv.training.checkpoint import Checkpoints
from dsconv.training.run import check_workdir
from tests.commands import run
from tests.conftest import tiny_config
from tests.data.conftest import examples
from tests.object_store import ObjectStore
from tests.runs import STEPS_PER_EPOCH, metrics
from tests.training.test_checkpoint import VALUES, make_state
from tests.training.test_loop import Interrupted, interrupt_at, variables_of

pytest.importorskip('tensorflow')
from tests.data.test_tfds_source import IMAGES  # noqa: E402
from tests.data.test_tfds_source import store as prepare  # noqa: E402

BUCKET = 'gs://bucket'


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    directory = tmp_path_factory.mktemp('store')
    with ObjectStore(directory, 'bucket') as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        patch.chdir(directory)
        yield store
    assert sorted(os.listdir(directory)) == ['certificate.pem', 'key.pem']  # no directory `gs:`


@pytest.fixture(scope='module')
def workdir(store):
    """The workdir of a run that is interrupted in its second epoch and resumed."""
    workdir, save, saves = to_path(f'{BUCKET}/runs/digits'), Checkpoints.save, []

    def save_and_look(self, state, validation):
        saves.append((int(state.step), read_metrics(workdir)[-1]['step']))
        save(self, state, validation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, 'save', save_and_look)
        with patch.context() as broken, pytest.raises(Interrupted):
            interrupt_at(broken, 2 * STEPS_PER_EPOCH)
            loop.train(tiny_config(), workdir)
        assert loop.train(tiny_config(log__tensorboard='true'), workdir)
    assert saves == [(step, step) for step in (19, 38, 57)]  # the log is written before each checkpoint
    return workdir


def upload(store, directory, prefix):
    """Puts the files below a directory into the bucket."""
    for file in directory.rglob('*'):
        if file.is_file():
            store.put(('bucket', f'{prefix}/{file.relative_to(directory)}'), file.read_bytes())


def test_a_resumed_run_ends_with_the_lines_the_bits_and_the_files_of_a_local_one(workdir, store, finished_run):
    assert metrics(workdir) == metrics(finished_run)
    ours, local = variables_of(workdir), variables_of(finished_run)
    assert jax.tree.structure(ours) == jax.tree.structure(local)
    jax.tree.map(np.testing.assert_array_equal, ours, local)
    names = {name.removeprefix('runs/digits/') for name in store.names()}
    assert {'config.json', 'metrics.jsonl'} <= names
    assert any(name.startswith('events.out.tfevents') for name in names)
    assert {name.split('/')[1] for name in names if name.startswith('checkpoints/')} - {''} == {'38', '57'}
    assert 'lock' not in names
    again = configuration.load(f'{workdir}/config.json', ['seed=3'])
    assert (again.seed, again.model.dim) == (3, 8)


def test_the_commands_read_and_write_beside_it(workdir, store, tmp_path, capsys):
    code, said, _ = run(evaluate, [f'--workdir={workdir}'], capsys)
    assert (code, said.splitlines()[-1]) == (0, f'{workdir}/report/report.md')
    assert json.loads(store.read('runs/digits/report/report.json'))['num_examples'] == 360
    code, said, _ = run(report, ['--workdirs', workdir, f'--output={BUCKET}/page'], capsys)
    assert (code, said.split()) == (0, [f'{BUCKET}/page/report.html', f'{BUCKET}/page/report.md'])
    assert str(workdir) in store.read('page/report.html').decode()
    assert store.read('page/run-1/curves.png').startswith(b'\x89PNG')

    Image.new('L', (8, 8), 200).save(tmp_path / 'grey.png')
    store.put(('bucket', 'grey.png'), (tmp_path / 'grey.png').read_bytes())
    line = [f'--workdir={workdir}', f'{BUCKET}/grey.png', tmp_path / 'grey.png']
    code, said, _ = run(predict, line, capsys)
    remote, local = said.splitlines()
    assert code == 0 and remote.split(': ') == [line[1], local.split(': ')[1]]
    line = [f'--workdir={workdir}', f'--output={BUCKET}/answers.csv', tmp_path / 'grey.png']
    assert run(predict, line, capsys)[0] == 0
    assert store.read('answers.csv').decode().splitlines()[1].startswith(f'"{tmp_path}/grey.png",')
    code, _, errors = run(predict, [f'--workdir={workdir}', f'{BUCKET}/absent.png'], capsys)
    assert code == 2 and errors.endswith(f'{BUCKET}/absent.png: there is no such file\n')


def test_a_damaged_checkpoint_is_moved_aside_and_one_that_is_out_of_reach_is_not(store, monkeypatch, caplog):
    workdir = to_path(f'{BUCKET}/runs/damaged')
    with Checkpoints(workdir) as checkpoints:
        for step in (3, 4):
            checkpoints.save(make_state(step, scale=step), {'accuracy': 0.5})
    before = store.names()
    with Checkpoints(workdir) as checkpoints, monkeypatch.context() as patch:
        patch.setattr(store, 'refuses', 403)
        with pytest.raises(RunError, match='are unchanged: run the same command again'):
            checkpoints.restore_newest(make_state(1))
    assert store.names() == before
    for name in before:
        if name.startswith('runs/damaged/checkpoints/4/') and not name.endswith('/'):
            to_path(f'{BUCKET}/{name}').write_bytes(b'')
    with Checkpoints(workdir) as checkpoints, caplog.at_level(logging.WARNING, 'dsconv'):
        state = checkpoints.restore_newest(make_state(1))
    np.testing.assert_array_equal(state.variables['params']['layer']['kernel'], 3 * VALUES)
    assert f'{workdir}/checkpoints/4 is damaged and was moved to {workdir}/damaged/4' in caplog.text
    assert 'runs/damaged/damaged/4/metrics/metrics' in store.names()
    assert not any(name.startswith('runs/damaged/checkpoints/4/') for name in store.names())


def test_what_is_not_written_to_its_end_is_no_checkpoint(store):
    workdir = to_path(f'{BUCKET}/runs/unfinished')
    for step in (3, 4):
        with Checkpoints(workdir) as checkpoints:
            checkpoints.save(make_state(step), {'accuracy': 0.5})
    for name in ('commit_success.txt', 'metrics/metrics'):
        (workdir / 'checkpoints' / '4' / name).unlink()
    with Checkpoints(workdir, read_only=True) as checkpoints:
        assert checkpoints.choose('latest') == 3


def test_lines_arrive_with_a_flush_and_at_the_end(store):
    workdir = to_path(f'{BUCKET}/runs/lines')
    line = {'epoch': 0.1, 'split': 'train', 'loss': 1.0}
    with MetricsLog(workdir, restored_step=0, tensorboard=False) as log:
        log.write(step=1, **line)
        assert read_metrics(workdir) == []
        log.flush()
        assert [line['step'] for line in read_metrics(workdir)] == [1]
        log.write(step=2, **line)
        log.write(step=3, **line)
    with MetricsLog(workdir, restored_step=2, tensorboard=False) as log:
        log.write(step=4, **line)
    assert [json.loads(line)['step'] for line in store.read('runs/lines/metrics.jsonl').splitlines()] == [1, 2, 4]


def open_source(*changes):
    return data.open_source(configuration.load('configs/small.py', list(changes)).dataset)


def test_a_prepared_dataset_is_read(store, tmp_path):
    prepare(tmp_path, train=IMAGES[:20], test=IMAGES[20:24])
    upload(store, tmp_path, 'data')
    for gigabytes in (1.0, 0.0):  # in memory, and streamed
        source = open_source(f'dataset.data_dir={BUCKET}/data', f'dataset.memory_gigabytes={gigabytes}')
        assert sorted(examples(source.load('train'))) == sorted((i % 10, IMAGES[i].tobytes()) for i in range(20))


def test_a_folder_of_pictures_is_read(store, write_pictures):
    root = write_pictures()
    (root / 'cat' / 'broken.txt').write_text('no picture, and not taken for one')
    upload(store, root, 'pictures')
    name = f'dataset.name=image_folder:{BUCKET}/pictures'
    local = open_source(f'dataset.name=image_folder:{root}')
    for gigabytes in (1.0, 0.0):
        ours = open_source(name, f'dataset.memory_gigabytes={gigabytes}')
        assert (ours.class_names, ours.split_sizes) == (local.class_names, local.split_sizes)
        assert sorted(examples(ours.load('train'))) == sorted(examples(local.load('train')))
    assert resolve(configuration.load('configs/small.py', [name]), ours).dataset.name == name[13:]
    lies = [to_path(f'{BUCKET}/pictures/cat/lies{number}.png') for number in range(4)]
    for put in lies:
        put.write_bytes(b'no picture')
    with pytest.raises(InputError, match='lies0.png: is not a picture that can be read'):
        open_source(name)
    for put in lies:
        put.unlink()


def test_a_table_of_pictures_in_the_bucket_is_kept(store, write_pictures, tmp_path):
    upload(store, root := write_pictures(), 'listed')
    rows = [f'{BUCKET}/listed/{file.relative_to(root)},{file.parent.name}\n' for file in sorted(root.rglob('*.png'))]
    (tmp_path / 'all.csv').write_text(f'path,label\n{"".join(rows)}')
    dataset = tiny_config(dataset__name=f'image_table:{tmp_path}/all.csv', dataset__class_names='cat,dog').dataset
    (tmp_path / 'kept.csv.gz').write_bytes(table := data.open_source(dataset).table())
    assert data.open_source(dataset, listed=tmp_path / 'kept.csv.gz').table() == table


def test_an_archive_is_read(store):
    store.put(('bucket', 'other.tar.gz'), b'no archive')
    for name, wrong in [('other', 'MD5 is'), ('absent', 'dataset.archive cannot be read')]:
        with pytest.raises(InputError, match=f'{BUCKET}/{name}.tar.gz: {wrong}'):
            open_source(f'dataset.archive={BUCKET}/{name}.tar.gz')


def test_a_file_is_replaced_in_one_request(store):
    for content in (b'a longer old text', b'new'):
        before = len(store.requests)
        replace_file(to_path(f'{BUCKET}/a.txt'), content)
        assert store.read('a.txt') == content
        assert all('uploadType' in path or 'upload_id' in path for path in store.requests[before:])


def test_what_is_not_there_or_refused_is_one_line(store, monkeypatch, capsys):
    make_directory(to_path(BUCKET))
    with pytest.raises(
        InputError, match='--workdir=gs://other/run cannot be made or written to: there is no such bucket'
    ):
        check_workdir(to_path('gs://other/run'), tiny_config())
    assert not configuration.has_begun(to_path('gs://other/run'))
    with pytest.raises(InputError, match='gs://other/run is not a directory'):
        configuration.load_run(to_path('gs://other/run'))
    with pytest.raises(InputError, match=r'\*\*/x.png: \*\* is for local paths only: give the folder'):
        find_pictures([f'{BUCKET}/**/x.png'])
    code, _, errors = run(evaluate, ['--workdir=gs:///run'], capsys)
    assert code == 2 and '--workdir: gs:///run must be a path of this machine, or gs://BUCKET/PATH' in errors
    monkeypatch.setattr(store, 'refuses', 401)
    code, _, errors = run(evaluate, [f'--workdir={BUCKET}/else'], capsys)
    assert code == 1 and len(errors.splitlines()) == 1
    assert 'the object store failed: ' in errors and 'HTTP response code 401' in errors
