import json
from unittest.mock import Mock

import pytest

from dsconv import config as configuration
from dsconv import files
from dsconv.config import ROOT, defaults, differences, flatten, load, load_run, name_of, save_run
from tests.commands import python, refusal


def test_shipped_configs_load_and_overrides_win_over_them_the_last_over_the_first():
    before = flatten(defaults())
    assert all(load(f'configs/{file.name}').is_locked for file in (ROOT / 'configs').glob('[!_]*.py'))
    config = load('configs/digits.py', ['seed=1', 'dataset.name=image_folder:/a=b', 'seed=2', 'model.reduction=4,8'])
    assert (config.seed, config.dataset.name, config.model.reduction) == (2, 'image_folder:/a=b', (4, 8))
    assert load('configs/fast.py', ['optimizer.ema_decay=none']).optimizer.ema_decay is None
    assert flatten(defaults()) == before


@pytest.mark.parametrize(
    ('path', 'hint'),
    [
        ('configs/smal.py:x', 'did you mean configs/small.py?'),
        ('configs', 'there are configs/best.py, configs/common.py'),
        ('x' * 5000, 'there is no such file'),
    ],
)
def test_no_such_file(path, hint):
    message = refusal(load, path)
    assert message.startswith(f'--config={path.removesuffix(":x")}: there is no such file; ')
    assert hint in message


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (b'x = (', "cannot be loaded: SyntaxError: '(' was never closed (mine.py, line 1)"),
        (b'get_config = 3', 'must define get_config()'),
        (b'def get_config():\n    raise RuntimeError("a\\nb")', 'cannot be loaded: RuntimeError: a (line 2)'),
        (b'from configs import common\ndef get_config():\n    config = common.get_config().lock()\n    config.x = 3',
         'Key "x" does not exist and cannot be added since the config is locked. (line 4)'),
        (b'from ml_collections import ConfigDict, config_dict\ndef get_config():\n'
         b'    return ConfigDict({"epochs": config_dict.placeholder(int, required=True)})', 'RequiredValueError'),
        (b'def get_config():\n    return {"model": {"dimm": 3}}', 'mine.py: model.dimm=3: there is no such key; did'),
    ],
)  # fmt: skip
def test_wrong_files(tmp_path, text, message):
    (tmp_path / 'mine.py').write_bytes(text)
    assert message in refusal(load, str(tmp_path / 'mine.py'))


def test_a_file_of_ones_own_may_be_a_plain_dict_and_take_an_argument(tmp_path, monkeypatch):
    mine = tmp_path / 'mine.py'
    mine.write_text(
        'import numpy\ndef get_config():\n    return {"epochs": numpy.int64(9), "model": {"reduction": [2, 2]}}'
    )
    config = load(str(mine), ['model.dim=32'])
    assert (config.epochs, config.model.reduction, config.model.dim) == (9, (2, 2), 32)
    assert config.batch_size == defaults().batch_size
    mine.write_text('def get_config(folder):\n    return {"dataset": {"name": f"image_folder:{folder}"}}')
    assert load(f'{mine}:gs://a:b/c d').dataset.name == 'image_folder:gs://a:b/c d'
    assert 'get_config() takes 0 positional arguments but 1' in refusal(load, 'configs/small.py:x')
    assert name_of('configs/small.py') == 'small'
    assert name_of('~/pictures.py:/data/ants bees/') == 'pictures-ants bees'
    monkeypatch.chdir(tmp_path)
    assert name_of('configs/pictures.py:.') == name_of('configs/pictures.py:train.csv') == f'pictures-{tmp_path.name}'
    for table in ('/data/ants.csv', 'gs://data/ants.tsv.gz', '/data/ants/train.csv'):
        assert name_of(f'configs/pictures.py:{table}') == 'pictures-ants'


def test_files_are_found_from_another_directory_and_other_configs_hide_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load('configs/digits.py').dataset.name == 'digits'  # found in the project
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'digits.py').write_text('def get_config():\n    return {"epochs": 9}')
    assert load('configs/digits.py').epochs == 9  # the current directory comes first
    (tmp_path / 'configs' / '__init__.py').touch()
    (tmp_path / 'configs' / 'mine.py').write_text('from configs import common\nget_config = common.get_config')
    for before in ('', 'import configs; '):
        code = f'{before}from dsconv import config; print(config.load("configs/mine.py").seed); import configs'
        done = python('-c', f'{code}; print(configs.__file__)', cwd=tmp_path)
        assert (done.stdout, done.stderr) == (f'0\n{tmp_path}/configs/__init__.py\n', '')


def test_a_warmup_is_cut_to_a_third_and_said_once_unless_it_was_typed(caplog):
    for overrides, warmup in (
        (['epochs=15'], 5.0),
        (['epochs=14'], 14 / 3),
        (['epochs=12', 'schedule.warmup_epochs=5'], 5.0),
    ):
        assert load('configs/small.py', overrides).schedule.warmup_epochs == warmup
    assert 'must be less than epochs=3' in refusal(load, 'configs/small.py', ['epochs=3', 'schedule.warmup_epochs=5'])
    caplog.set_level('INFO', 'dsconv')
    configuration.say_once.cache_clear()
    for _ in range(2):
        load('configs/small.py', ['epochs=7'])
    assert caplog.messages == ['schedule.warmup_epochs=5.0 is cut to 2.33, a third of epochs=7']


def test_a_run_keeps_the_warmup_that_it_began_with(tmp_path):
    """`epochs` may change on resume, the warm-up may not, chosen or typed."""
    (tmp_path / 'checkpoints' / '1').mkdir(parents=True)
    for epochs in (3, 3, 30, 30, 2):
        config = load('configs/small.py', [f'epochs={epochs}'], tmp_path)
        assert config.schedule.warmup_epochs == 1
        save_run(tmp_path, config, {})
    assert load('configs/small.py', ['epochs=6'], tmp_path / 'new').schedule.warmup_epochs == 2
    (tmp_path / 'config.json').write_text('{')  # reported when the run is resumed
    assert load('configs/small.py', ['epochs=3'], tmp_path).schedule.warmup_epochs == 1
    save_run(tmp_path, load('configs/small.py', ['epochs=12', 'schedule.warmup_epochs=4.9']), {})
    assert load('configs/small.py', ['epochs=12'], tmp_path).schedule.warmup_epochs == 4.9
    assert load(str(tmp_path / 'config.json')).schedule.warmup_epochs == 4.9
    assert load(str(tmp_path / 'config.json'), ['epochs=3']).schedule.warmup_epochs == 1


def test_a_run_comes_back_as_it_was_and_an_older_one_with_the_defaults_of_newer_keys(tmp_path, monkeypatch):
    changes = ['dataset.class_names=ä,b', 'dataset.mean=0.5', 'model.reduction=4,2', 'dataset.data_dir=/x\udcff']
    config = load('configs/digits.py', changes)
    save_run(tmp_path / 'a' / 'run', config, {'devices': '1 × cpu'})
    again = load_run(tmp_path / 'a' / 'run')
    assert flatten(again) == flatten(config) and again.is_locked
    before = (tmp_path / 'a' / 'run' / 'config.json').read_bytes()
    assert json.loads(before)['devices'] == '1 × cpu'
    monkeypatch.setattr(files, 'replace_file', Mock(side_effect=OSError(28, 'No space left on device')))
    with pytest.raises(OSError, match='No space'):
        save_run(tmp_path / 'a' / 'run', load('configs/medium.py'), {})
    assert (tmp_path / 'a' / 'run' / 'config.json').read_bytes() == before
    before = {'epochs': 9, 'optimizer': {'clip_norm': 1.0}, 'dataset': {'root': '/x'}}  # no effect on CIFAR-10
    (tmp_path / 'config.json').write_text(json.dumps({'config': before}))
    for older in (load_run(tmp_path), load(str(tmp_path / 'config.json'))):
        assert differences(defaults(), older) == ['epochs: 300 → 9', 'optimizer.clip_norm: none → 1.0']
    assert load(str(tmp_path / 'config.json'), ['dataset.root=/y']).dataset.root == '/y'  # refused later, with the data
    (tmp_path / 'config.json').write_text(json.dumps({'config': {'dataset': {'archive': '/x.tar.gz'}}}))
    assert 'in another order' in load_run(tmp_path).dataset.train_fingerprint


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'[' * 100_000, 'config.json is damaged (RecursionError'),
        (b'{"config": {"epochs": "9"}}', "config.json: epochs='9' must be a whole number"),
        (b'{"config": {"optimizer": {"eps": NaN}}}', 'optimizer.eps=nan must be in (0, 1]'),
    ],
)
def test_damaged_runs(tmp_path, content, message):
    (tmp_path / 'config.json').write_bytes(content)
    assert message in refusal(load_run, tmp_path)
    assert (tmp_path / 'config.json').read_bytes() == content


def test_what_is_no_workdir(tmp_path):
    assert 'it has no config.json' in refusal(load_run, tmp_path)
    (tmp_path / 'study.json').touch()
    assert refusal(load_run, tmp_path).endswith(f'directory of a study: its runs are {tmp_path}/cells/*/seed-*')
    (tmp_path / 'config.json').touch()
    message = refusal(load_run, f'{tmp_path}x')
    assert message.endswith(f'x is not a directory: give the workdir of a run; did you mean {tmp_path}?')
