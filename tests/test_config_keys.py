import pytest

from dsconv.config import defaults, flatten
from dsconv.config_keys import Key, no_such_key, read_keys

KEYS = read_keys(defaults())


def test_every_key_of_the_defaults_is_read():
    assert list(KEYS) == list(flatten(defaults()))


def test_kinds():
    assert KEYS['batch_size'] == Key(int, is_tuple=False, nullable=False)
    assert KEYS['model.residual_block'] == Key(bool, is_tuple=False, nullable=False)
    assert KEYS['dataset.data_dir'] == Key(str, is_tuple=False, nullable=True)
    assert KEYS['optimizer.clip_norm'] == Key(float, is_tuple=False, nullable=True)
    assert KEYS['model.reduction'] == Key(int, is_tuple=True, nullable=False)
    assert KEYS['dataset.mean'] == KEYS['dataset.std'] == Key(float, is_tuple=True, nullable=True)
    assert KEYS['dataset.class_names'] == Key(str, is_tuple=True, nullable=True)


@pytest.mark.parametrize(
    ('key', 'text', 'value'),
    [
        ('batch_size', '64', 64),
        ('batch_size', '-3', -3),
        ('batch_size', '1e3', '1e3'),
        ('batch_size', '1.0', '1.0'),
        ('batch_size', 'True', 'True'),
        ('batch_size', 'none', 'none'),
        ('batch_size', '', ''),
        ('schedule.peak_value', '1e-3', 0.001),
        ('schedule.peak_value', '1', 1.0),
        ('schedule.peak_value', 'abc', 'abc'),
        ('optimizer.clip_norm', 'None', None),
        ('optimizer.clip_norm', '1', 1.0),
        ('dataset.name', 'none', 'none'),
        ('dataset.name', '3', '3'),
        ('dataset.data_dir', 'none', None),
        ('log.tensorboard', 'FALSE', False),
        ('log.tensorboard', 'true', True),
        ('log.tensorboard', '1', '1'),
        ('model.reduction', '2,4', (2, 4)),
        ('model.reduction', '(2, 4)', (2, 4)),
        ('model.reduction', '[2,4,]', (2, 4)),
        ('model.reduction', '2', (2,)),
        ('model.reduction', '(2', '(2'),
        ('model.reduction', '2,,4', '2,,4'),
        ('model.reduction', '2,4.0', '2,4.0'),
        ('model.reduction', '', ''),
        ('dataset.mean', '0,0.5', (0.0, 0.5)),
        ('dataset.mean', 'none', None),
        ('dataset.class_names', '1, 2', ('1', '2')),
        ('dataset.class_names', "('cat', 'dog (big)')", ('cat', 'dog (big)')),
    ],
)
def test_parse(key, text, value):
    parsed = KEYS[key].parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ('key', 'value', 'converted'),
    [
        ('schedule.peak_value', 1, 1.0),
        ('optimizer.clip_norm', None, None),
        ('model.reduction', [2, 4], (2, 4)),
        ('dataset.mean', [0, 0.5], (0.0, 0.5)),
        ('dataset.class_names', ('a', 'b'), ('a', 'b')),
    ],
)
def test_convert(key, value, converted):
    result = KEYS[key].convert(value)
    assert result == converted
    assert type(result) is type(converted)
    if key == 'dataset.mean':
        assert all(type(number) is float for number in result)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('batch_size', 1.0),
        ('batch_size', True),
        ('batch_size', '1'),
        ('batch_size', None),
        ('schedule.peak_value', True),
        ('schedule.peak_value', 'fast'),
        ('schedule.peak_value', None),
        ('schedule.peak_value', 10**400),
        ('log.tensorboard', 1),
        ('dataset.name', ''),
        ('dataset.name', 3),
        ('dataset.data_dir', ''),
        ('dataset.data_dir', 'a\0b'),
        ('dataset.class_names', ('a\0', 'b')),
        ('model.reduction', (2, 4.0)),
        ('model.reduction', ()),
        ('model.reduction', 2),
        ('model.reduction', None),
        ('dataset.class_names', ('a', '')),
        ('dataset.class_names', 'ab'),
    ],
)
def test_convert_refuses(key, value):
    with pytest.raises((TypeError, OverflowError)):
        KEYS[key].convert(value)


@pytest.mark.parametrize('key', KEYS.values(), ids=KEYS)
def test_each_key_says_what_it_wants(key):
    assert ('none' in key.description) == key.nullable


@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        ('epocs', 'epochs'),
        ('batchsize', 'batch_size'),
        ('BATCH_SIZE', 'batch_size'),
        ('eval.batchsize', 'eval.batch_size'),
        ('model.dimm', 'model.dim'),
        ('modle.dim', 'model.dim'),
        ('model_dim', 'model.dim'),
        ('dim', 'model.dim'),
        ('weight_decay', 'optimizer.weight_decay'),
        ('model.weight_decay', 'optimizer.weight_decay'),
        ('crop_paddding', 'augment.crop_padding'),
        ('epochs.x', 'epochs'),
    ],
)
def test_no_such_key_names_the_nearest(name, meant):
    assert no_such_key(name, KEYS) == f'there is no such key; did you mean {meant}?'


@pytest.mark.parametrize('name', ['lr', 'optimizer.lr', '', 'KEY', 'x' * 5000])
def test_no_such_key_says_where_to_look(name):
    assert no_such_key(name, KEYS) == 'there is no such key; configs/common.py lists them all'


def test_no_such_key_of_a_group():
    assert no_such_key('checkpoint', KEYS) == (
        'checkpoint is a group of keys; set one of them, as checkpoint.every_epochs'
    )
