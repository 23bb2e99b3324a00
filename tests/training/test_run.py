import json
import os
import subprocess
from pathlib import Path
from unittest.mock import Mock

import pytest

from dsconv import config as configuration
from dsconv.errors import InputError, RunError
from dsconv.training.run import (
    check_workdir,
    kept_pictures,
    lock_workdir,
    output_of,
    warn_of_other_versions,
    write_config,
)
from dsconv.training.setup import open_data, open_source
from tests.conftest import tiny_config


def test_what_may_change_on_resume_and_what_may_not(tmp_path):
    write_config(tmp_path, tiny_config())
    check_workdir(tmp_path, tiny_config(batch_size=32))  # nothing is lost yet
    assert configuration.load('configs/digits.py', [], tmp_path) == configuration.load('configs/digits.py', [])
    (tmp_path / 'checkpoints' / '19.orbax-checkpoint-tmp').mkdir(parents=True)  # killed during its first save
    check_workdir(tmp_path, tiny_config(batch_size=32))
    (tmp_path / 'checkpoints' / '19').mkdir()
    may = dict(epochs=9, steps_per_dispatch=4, log__every_steps=3, eval__batch_size=99, dataset__data_dir='/elsewhere')
    may |= dict(
        max_skipped_steps=1, accumulation_steps=2, model__implementation='fast', model__fold=1, model__remat=True
    )
    check_workdir(tmp_path, tiny_config(**may))
    for key, value in {'seed': 1, 'batch_size': 32, 'optimizer__weight_decay': 0.5}.items():
        with pytest.raises(InputError, match=f'contains another run \\({key.replace("__", ".")}: .* → {value}'):
            check_workdir(tmp_path, tiny_config(**{key: value}))


@pytest.mark.parametrize('content', ['{"conf', 'null', '[' * 100_000])
def test_a_damaged_config_is_said(tmp_path, content):
    (tmp_path / 'config.json').write_text(content)
    with pytest.raises(InputError, match='config.json is damaged'):
        check_workdir(tmp_path, tiny_config())


def test_checkpoints_without_a_config_are_nobodys(tmp_path):
    (tmp_path / 'checkpoints' / '19').mkdir(parents=True)
    with pytest.raises(InputError, match='contains checkpoints, but no config.json'):
        check_workdir(tmp_path, tiny_config())


def test_a_workdir_that_cannot_be_written_is_refused_and_a_full_disk_is_not_the_persons_fault(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match='cannot be written'):
        write_config(tmp_path / 'file', tiny_config())
    monkeypatch.setattr(configuration, 'save_run', Mock(side_effect=OSError(28, 'No space left on device')))
    with pytest.raises(RunError, match=f'{tmp_path} cannot be written: No space left on device'):
        write_config(tmp_path, tiny_config())


def test_config_json_names_versions_devices_and_the_commit(tmp_path):
    write_config(tmp_path, tiny_config())
    run = json.loads((tmp_path / 'config.json').read_text())
    assert run['processes'] == 1
    assert set(run['versions']) >= {'python', 'jax', 'flax', 'optax', 'orbax-checkpoint'}
    git = subprocess.run(['git', '-C', str(configuration.ROOT), 'rev-parse', 'HEAD'], capture_output=True, text=True)
    if git.returncode == 0 and (configuration.ROOT / '.git').exists():
        assert run['git_revision'] in (git.stdout.strip(), f'{git.stdout.strip()}+changes')


@pytest.mark.parametrize(('content', 'revision'), [('$Format:%H$', None), ('abc123', 'abc123')])
def test_outside_a_checkout_the_commit_is_that_of_the_archive(tmp_path, monkeypatch, content, revision):
    (tmp_path / '.git_archival').write_text(f'{content}\n')
    monkeypatch.setattr(configuration, 'ROOT', tmp_path)
    write_config(tmp_path, tiny_config())
    assert json.loads((tmp_path / 'config.json').read_text())['git_revision'] == revision


def test_what_is_made_of_a_published_network_has_its_name(tmp_path, monkeypatch):
    configuration.save_run(tmp_path / 'net', tiny_config(), {'published_step': 7})
    monkeypatch.chdir(tmp_path / 'net')
    for path in (Path('.'), Path('../net')):
        assert output_of(path) == Path('runs/published/net')


def test_a_second_run_in_a_workdir_is_refused_until_the_first_ends(tmp_path):
    with lock_workdir(tmp_path):
        mine = f'process {os.getpid()} on '
        with pytest.raises(InputError, match=f'is in use .{mine}.*: wait'), lock_workdir(tmp_path):
            pass
    with lock_workdir(tmp_path):
        assert (tmp_path / 'lock').read_text().startswith(mine)


def test_other_versions_are_named(tmp_path, caplog):
    write_config(tmp_path, tiny_config())
    warn_of_other_versions(tmp_path / 'config.json')
    assert caplog.text == ''
    facts = json.loads((tmp_path / 'config.json').read_text())
    facts['versions']['jax'], facts['git_revision'] = '0.0.1', 'abc'
    (tmp_path / 'config.json').write_text(json.dumps(facts))
    with caplog.at_level('WARNING', 'dsconv'):
        write_config(tmp_path, tiny_config())
    assert 'was made with other versions (jax 0.0.1, here ' in caplog.text
    (tmp_path / 'config.json').write_text(json.dumps(facts | {'versions': None}))
    warn_of_other_versions(tmp_path / 'config.json')
    assert 'dsconv abc, here ' in caplog.text


def test_a_workdir_inside_the_pictures_is_warned_of(write_pictures, caplog):
    root = write_pictures(count=5)
    config = tiny_config(**{'dataset.name': f'image_folder:{root}', 'batch_size': 6})
    for workdir, warns in ((root.parent / 'run', False), (root / 'runs' / 'one', True)):
        check_workdir(workdir, config)
        assert ('inside the folder of pictures' in caplog.text) == warns


def test_a_run_goes_on_with_the_pictures_with_which_it_began(write_pictures, tmp_path, monkeypatch):
    root = write_pictures(count=5)
    monkeypatch.chdir(root.parent)
    changes = {'dataset.name': f'image_folder:{root.name}', 'dataset.validation_fraction': 0.25, 'batch_size': 6}
    changes['dataset.crop_scale'] = '0.5,1'
    loaded = tiny_config(**changes)
    source, _, config = open_data(loaded)
    check_workdir(tmp_path / 'run', config)
    write_config(tmp_path / 'run', config, source)
    assert kept_pictures(tmp_path / 'run', loaded.dataset)[1] is None  # nothing is lost yet
    (tmp_path / 'run' / 'checkpoints' / '1').mkdir(parents=True)
    (root / 'cat' / 'later.png').write_bytes((root / 'cat' / '000.png').read_bytes())
    loaded.dataset.train_fingerprint = 'that of the run of --config=config.json'
    again, _, resolved = open_data(loaded, open_source(loaded, tmp_path / 'run'))
    assert resolved.to_dict() == config.to_dict() and again.split_sizes == source.split_sizes
    assert sum(open_source(loaded).split_sizes.values()) == sum(source.split_sizes.values()) + 1
    others = {'image_size': 4, 'validation_fraction': 0.5, 'name': 'image_folder:.', 'crop_scale': 'none'}
    for key, value in others.items():
        assert kept_pictures(tmp_path / 'run', tiny_config(**changes | {f'dataset.{key}': value}).dataset)[1] is None
    (root / 'dog' / '000.png').unlink()
    with pytest.raises(InputError, match='1 of the 10 pictures of this run .*restore them .*000.png: there is no'):
        open_source(loaded, tmp_path / 'run')
