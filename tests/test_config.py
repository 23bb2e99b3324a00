import json
import subprocess
import sys

import pytest

from dsconv import config as configuration
from dsconv.config import ROOT, defaults, differences, find_file, flatten, load, load_run, save_run
from dsconv.errors import InputError

SHIPPED = sorted(file.name for file in (ROOT / 'configs').glob('[!_]*.py'))


@pytest.fixture
def write_config(tmp_path):
    """Writes a config file of a person's own; returns its path."""

    def write(text, name='mine.py'):
        file = tmp_path / name
        file.write_text(text)
        return str(file)

    return write


def refusal(path, *overrides):
    """The message with which `load` refuses; one line."""
    with pytest.raises(InputError) as caught:
        load(path, overrides)
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_configs_load(name):
    config = load(f'configs/{name}')
    assert config.is_locked
    assert flatten(config).keys() == flatten(defaults()).keys()


def test_shipped_configs_change_what_they_say():
    assert load('configs/medium.py').model.dim == 256
    assert load('configs/large.py').model.depth == 16
    assert load('configs/digits.py').dataset.name == 'digits'


@pytest.mark.parametrize(
    ('override', 'value'),
    [
        ('epochs=7', 7),
        ('schedule.peak_value=1e-3', 0.001),
        ('optimizer.clip_norm=1', 1.0),
        ('optimizer.clip_norm=none', None),
        ('log.tensorboard=false', False),
        ('dataset.name=image_folder:/a=b', 'image_folder:/a=b'),
        ('dataset.archive=x.tar.gz', 'x.tar.gz'),
        ('dataset.class_names=cat,dog', ('cat', 'dog')),
        ('dataset.mean=0.5,0.25,0', (0.5, 0.25, 0.0)),
        ('model.reduction=4,8', (4, 8)),
    ],
)
def test_overrides_of_each_type(override, value):
    loaded = flatten(load('configs/small.py', [override]))[override.split('=')[0]]
    assert loaded == value
    assert type(loaded) is type(value)


def test_the_last_override_wins():
    assert load('configs/small.py', ['seed=1', 'seed=2']).seed == 2


def test_load_leaves_the_defaults_alone():
    before = flatten(defaults())
    load('configs/small.py', ['model.dim=64', 'optimizer.clip_norm=1'])
    assert flatten(defaults()) == before


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('model.dimm=3', '--config.model.dimm=3: there is no such key; did you mean model.dim?'),
        ('dim=3', '--config.dim=3: there is no such key; did you mean model.dim?'),
        ('lr=3', '--config.lr=3: there is no such key; configs/common.py lists them all'),
        ('=3', '--config.=3: there is no such key; configs/common.py lists them all'),
        ('KEY=1', '--config.KEY=1: there is no such key; configs/common.py lists them all'),
        ('loss=3', '--config.loss=3: loss is a group of keys; set one of them, as loss.'),
        ('epochs', '--config.epochs needs a value: --config.epochs=VALUE'),
        ('', '--config. needs a value: --config.=VALUE'),
        ('epochs=', "--config.epochs='' must be a whole number"),
        ('epochs=1.5', '--config.epochs=1.5 must be a whole number'),
        ('epochs=True', '--config.epochs=True must be a whole number'),
        ('epochs=none', '--config.epochs=none must be a whole number'),
        ('epochs=-3', 'epochs=-3 must be in [1, 1000000]'),
        ('batch_size=0', 'batch_size=0 must be in [1, 1000000]'),
        ('model.dim=99999999999999999999', 'model.dim=99999999999999999999 must be in [1, 65536]'),
        ('optimizer.clip_norm=abc', '--config.optimizer.clip_norm=abc must be a number, or none'),
        ('log.tensorboard=1', '--config.log.tensorboard=1 must be true or false'),
        ('dataset.name=', "--config.dataset.name='' must be text, not empty"),
        ('model.reduction=(2', '--config.model.reduction=(2 must be whole numbers, as 2,4'),
        ('dataset.std=', "--config.dataset.std='' must be numbers, as 0.5,0.4, or none"),
        ('model.name=a\nb', r"model.name='a\nb' is not one of dsconv"),
    ],
)
def test_wrong_overrides(override, message):
    assert refusal('configs/digits.py', override).startswith(message)


@pytest.mark.parametrize(
    ('path', 'hint'),
    [
        ('configs/smal.py', 'did you mean configs/small.py?'),
        ('small', 'did you mean configs/small.py?'),
        ('elsewhere/large.py', 'did you mean configs/large.py?'),
        ('', 'there are configs/common.py, configs/digits.py'),
        ('configs', 'there is no such file'),
        ('~nobody_of_this_name/x.py', 'there is no such file'),
        ('x' * 5000, 'there is no such file'),
    ],
)
def test_no_such_file(path, hint):
    message = refusal(path)
    assert message.startswith(f'--config={path}: there is no such file; ')
    assert hint in message


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('x = (', "cannot be loaded: SyntaxError: '(' was never closed (mine.py, line 1)"),
        ('this is my prose', 'cannot be loaded: SyntaxError: '),
        ('{"a": 1}', 'must define get_config()'),
        ('get_config = 3', 'must define get_config()'),
        ('def get_config():\n    return 3', 'must define get_config()'),
        ('def get_config():\n    pass', 'must define get_config()'),
        ('def get_config():\n    raise RuntimeError("a\\nb")', 'cannot be loaded: RuntimeError: a (line 2)'),
        ('def get_config():\n    return {}["x"]', 'cannot be loaded: KeyError: x (line 2)'),
        ('raise ValueError', 'cannot be loaded: ValueError:  (line 1)'),
        ('import sys\nsys.exit(0)', 'cannot be loaded: SystemExit: 0 (line 2)'),
        (
            'import nothing_of_this_name',
            "cannot be loaded: ModuleNotFoundError: No module named 'nothing_of_this_name'",
        ),
        (
            'from configs import common\ndef get_config():\n    config = common.get_config().lock()\n'
            '    config.batchsize = 3\n    return config',
            'Key "batchsize" does not exist and cannot be added since the config is locked. (line 4)',
        ),
        (
            'def get_config():\n    return {"model": {"dimm": 3}}',
            'mine.py: model.dimm=3: there is no such key; did you',
        ),
        ('def get_config():\n    return {"model": 3}', 'mine.py: model=3: model is a group of keys'),
        ('def get_config():\n    return {"epochs": {"x": 3}}', 'mine.py: epochs.x=3: there is no such key'),
        ('def get_config():\n    return {"epochs": None}', 'mine.py: epochs=none must be a whole number'),
        ('def get_config():\n    return {"epochs": 2.0}', 'mine.py: epochs=2.0 must be a whole number'),
        ('def get_config():\n    return {3: 4}', 'mine.py: 3=4: there is no such key'),
        ('def get_config():\n    return {"optimizer": {"eps": 10 ** 400}}', 'must be a number'),
    ],
)
def test_wrong_files(write_config, text, message):
    assert message in refusal(write_config(text))


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / 'mine.py').write_bytes(b'\x93NUMPY\x00\xff')
    assert 'cannot be loaded: ' in refusal(str(tmp_path / 'mine.py'))


def test_a_file_of_ones_own_may_be_a_plain_dict_of_what_differs(write_config):
    path = write_config('def get_config():\n    return {"epochs": 9, "model": {"reduction": [2, 2]}}')
    config = load(path, ['model.dim=32'])
    assert (config.epochs, config.model.reduction, config.model.dim) == (9, (2, 2), 32)
    assert config.batch_size == defaults().batch_size


def test_files_are_found_from_another_directory(write_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load('configs/digits.py').dataset.name == 'digits'  # in the project
    (tmp_path / 'configs').mkdir()
    write_config('from configs import digits\nget_config = digits.get_config', 'configs/near.py')
    assert load('configs/near.py').dataset.name == 'digits'
    write_config('def get_config():\n    return {"epochs": 9}', 'configs/digits.py')
    assert load('configs/digits.py').epochs == 9  # the directory that one stands in comes first


def test_another_package_named_configs_does_not_hide_ours(tmp_path):
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / '__init__.py').touch()
    (tmp_path / 'configs' / 'mine.py').write_text('from configs import common\nget_config = common.get_config')
    script = (
        f'import sys; sys.path[:0] = ["", {str(ROOT)!r}]\n'
        f'from dsconv import config; print(config.load("configs/mine.py").seed)'
    )
    done = subprocess.run([sys.executable, '-c', script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ('0\n', '')


def test_flatten():
    assert flatten({'a': 1, 'b': {'c': (1, 2), 'd': {'e': None}}}) == {'a': 1, 'b.c': (1, 2), 'b.d.e': None}


def test_a_run_comes_back_as_it_was(tmp_path):
    config = load(
        'configs/digits.py',
        ['dataset.class_names=ä,b', 'dataset.mean=0.5', 'model.reduction=4,2', 'dataset.data_dir=/x\udcff'],
    )
    save_run(tmp_path / 'a' / 'run', config, {'devices': '1 × cpu'})
    again = load_run(tmp_path / 'a' / 'run')
    assert flatten(again) == flatten(config)
    assert again.is_locked
    assert again.dataset.std is None
    assert json.loads((tmp_path / 'a' / 'run' / 'config.json').read_text())['devices'] == '1 × cpu'


def test_an_older_run_gets_the_default_of_a_newer_key(tmp_path):
    (tmp_path / 'config.json').write_text('{"config": {"epochs": 9, "optimizer": {"clip_norm": 1.0}}}')
    config = load_run(tmp_path)
    assert (config.epochs, config.optimizer.clip_norm) == (9, 1.0)
    assert differences(defaults(), config) == ['epochs: 300 → 9', 'optimizer.clip_norm: none → 1.0']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'config.json is damaged (JSONDecodeError'),
        (b'{"config": {"epochs": 9', 'config.json is damaged (JSONDecodeError'),
        (b'\xff\xfe', 'config.json is damaged (UnicodeDecodeError'),
        (b'[]', 'config.json is damaged (TypeError'),
        (b'{}', 'config.json is damaged (KeyError'),
        (b'{"config": 3}', 'config.json is damaged (AttributeError'),
        (b'[' * 100_000, 'config.json is damaged (RecursionError'),
        (b'{"config": {"epocs": 9}}', 'config.json: epocs=9: there is no such key; did you mean epochs?'),
        (b'{"config": {"epochs": "9"}}', 'config.json: epochs=9 must be a whole number'),
        (b'{"config": {"optimizer": {"eps": NaN}}}', 'optimizer.eps=nan must be in (0, 1]'),
    ],
)
def test_damaged_runs(tmp_path, content, message):
    file = tmp_path / 'config.json'
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_run(tmp_path)
    assert message in str(caught.value)
    assert file.read_bytes() == content


@pytest.mark.parametrize('name', ['', 'nowhere', 'file'])
def test_what_is_not_a_workdir(tmp_path, name):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='is not the workdir of a run: it has no config.json$'):
        load_run(tmp_path / name)


def test_a_config_of_the_project_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_file('configs/small.py') == ROOT / 'configs' / 'small.py'
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'small.py').touch()
    assert find_file('configs/small.py').resolve() == tmp_path / 'configs' / 'small.py'


def test_the_directory_of_a_study_is_told_from_a_workdir(tmp_path):
    (tmp_path / 'study.json').touch()
    with pytest.raises(InputError, match=r'is the directory of a study: its runs are .*/cells/\*/seed-\*$'):
        load_run(tmp_path)


def test_differences():
    one, two = load('configs/small.py'), load('configs/small.py', ['model.dim=64', 'model.reduction=2,2'])
    assert differences(one, one) == []
    assert differences(one, two) == ['model.dim: 128 → 64', 'model.reduction: 2,4 → 2,2']


def test_nothing_is_written_when_the_disk_is_full(tmp_path, monkeypatch):
    save_run(tmp_path, load('configs/small.py'), {})
    before = (tmp_path / 'config.json').read_bytes()

    def full(path, content):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(configuration, 'replace_file', full)
    with pytest.raises(OSError, match='No space'):
        save_run(tmp_path, load('configs/medium.py'), {})
    assert (tmp_path / 'config.json').read_bytes() == before


@pytest.mark.parametrize(
    ('overrides', 'warmup'),
    [
        (['epochs=300'], 5.0),
        (['epochs=15'], 5.0),
        (['epochs=14'], 14 / 3),
        (['epochs=1'], 1 / 3),
        (['epochs=12', 'schedule.warmup_epochs=5'], 5.0),
    ],
)
def test_a_warmup_is_cut_to_a_third_unless_it_was_typed(overrides, warmup):
    assert load('configs/small.py', overrides).schedule.warmup_epochs == warmup


def test_a_typed_warmup_that_does_not_fit_is_refused():
    message = refusal('configs/small.py', 'epochs=3', 'schedule.warmup_epochs=5')
    assert message.startswith('schedule.warmup_epochs=5.0 must be shorter than epochs=3; take 1')


def test_the_cut_is_said_once(caplog):
    caplog.set_level('INFO', 'dsconv')
    configuration._say_once.cache_clear()
    for _ in range(2):
        load('configs/small.py', ['epochs=7'])
    assert caplog.messages == ['schedule.warmup_epochs=5.0 is cut to 2.33, a third of epochs=7']


def test_a_run_keeps_the_warmup_that_it_began_with(tmp_path):
    """`epochs` may change on resume, the warm-up may not."""
    for epochs, warmup in ((3, 1.0), (3, 1.0), (30, 1.0), (30, 1.0), (2, 1.0)):
        config = load('configs/small.py', [f'epochs={epochs}'], tmp_path)
        assert config.schedule.warmup_epochs == warmup
        save_run(tmp_path, config, {})
    assert load('configs/small.py', ['epochs=6'], tmp_path / 'new').schedule.warmup_epochs == 2.0


@pytest.mark.parametrize('began', [5.0, 4.9, 7.0])
def test_a_run_from_before_warmups_were_cut_goes_on_but_no_other(tmp_path, began):
    save_run(tmp_path, load('configs/small.py', ['epochs=12', f'schedule.warmup_epochs={began}']), {})
    resumed = load('configs/small.py', ['epochs=12'], tmp_path).schedule.warmup_epochs
    assert resumed == (5.0 if began == 5 else 4.0)  # the workdir holds another run than 4.0 says, and refuses it
    again = load(str(tmp_path / 'config.json'))
    assert again.schedule.warmup_epochs == began
    assert load(str(tmp_path / 'config.json'), ['epochs=3']).schedule.warmup_epochs == 1.0


def test_a_damaged_run_is_not_reported_by_the_config(tmp_path):
    (tmp_path / 'config.json').write_text('{')
    assert load('configs/small.py', ['epochs=3'], tmp_path).schedule.warmup_epochs == 1.0


def test_the_argument_of_a_config_file(write_config):
    mine = write_config('def get_config(folder):\n    return {"dataset": {"name": f"image_folder:{folder}"}}')
    assert load(f'{mine}:gs://a:b/c d').dataset.name == 'image_folder:gs://a:b/c d'
    assert load(f'{mine}:').dataset.name == 'image_folder:'
    assert refusal(mine).endswith(
        "cannot be loaded: TypeError: get_config() missing 1 required positional argument: 'folder'"
    )
    assert refusal('configs/small.py:x').startswith(
        '--config=configs/small.py:x cannot be loaded: TypeError: get_config() takes 0 positional arguments but 1'
    )
    assert refusal('configs/smal.py:x').endswith('there is no such file; did you mean configs/small.py?')


@pytest.mark.parametrize(
    ('path', 'name'),
    [
        ('configs/small.py', 'small'),
        ('~/pictures.py:/data/ants bees/', 'pictures-ants bees'),
        ('pictures.py:gs://bucket/ants', 'pictures-ants'),
        ('pictures.py:', 'pictures'),
        ('runs/a/config.json', 'config'),
    ],
)
def test_the_name_of_a_config(path, name):
    assert configuration.name_of(path) == name
