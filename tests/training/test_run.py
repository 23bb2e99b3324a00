import json
import subprocess

import pytest

from dsconv import config as configuration
from dsconv.errors import InputError
from dsconv.training.run import check_workdir, write_config
from tests.conftest import tiny_config


def test_what_may_change_on_resume_and_what_may_not(tmp_path):
    write_config(tmp_path, tiny_config())
    may = tiny_config(
        epochs=9, steps_per_dispatch=4, log__every_steps=3, eval__batch_size=99, checkpoint__keep=5,
        dataset__data_dir='/elsewhere',
    )  # fmt: skip
    check_workdir(tmp_path, may)
    for key, value in {'seed': 1, 'batch_size': 32, 'optimizer__weight_decay': 0.5, 'augment__crop_padding': 3}.items():
        with pytest.raises(InputError, match=f'holds another run \\({key.replace("__", ".")}: .* → {value}'):
            check_workdir(tmp_path, tiny_config(**{key: value}))


def test_a_workdir_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    for path in (tmp_path / 'file', tmp_path / 'file' / 'below'):
        with pytest.raises(InputError, match='cannot be made: (File exists|Not a directory)'):
            check_workdir(path, tiny_config())
    with pytest.raises(InputError, match='cannot be written'):
        write_config(tmp_path / 'file', tiny_config())


def test_config_json_names_versions_devices_and_the_commit(tmp_path):
    write_config(tmp_path, tiny_config())
    run = json.loads((tmp_path / 'config.json').read_text())
    assert run['processes'] == 1
    assert set(run['versions']) >= {'python', 'jax', 'flax', 'optax', 'orbax-checkpoint'}
    git = subprocess.run(['git', '-C', str(configuration.ROOT), 'rev-parse', 'HEAD'], capture_output=True, text=True)
    expected = git.stdout.strip() or None
    assert run['git_revision'] == expected or run['git_revision'] == f'{expected}+changes'
