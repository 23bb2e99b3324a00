import pytest

from dsconv.config import defaults
from dsconv.config_keys import no_such_key, read_keys

KEYS = read_keys(defaults())


def test_the_description_names_none_where_a_key_takes_it():
    assert all(('none' in key.description) == key.nullable for key in KEYS.values())


@pytest.mark.parametrize(
    ('key', 'text', 'value'),
    [
        ('batch_size', '-3', -3),
        ('schedule.peak_value', '1', 1.0),
        ('optimizer.clip_norm', 'None', None),
        ('dataset.name', 'none', 'none'),
        ('log.tensorboard', 'FALSE', False),
        ('model.reduction', '2', (2,)),
        ('model.reduction', '[2, 4,]', (2, 4)),
        ('dataset.class_names', "('cat', 'dog (big)')", ('cat', 'dog (big)')),
    ],
)
def test_parse(key, text, value):
    parsed = KEYS[key].parse(text)
    assert (parsed, type(parsed)) == (value, type(value))


def test_convert_and_what_is_refused():
    assert KEYS['optimizer.clip_norm'].convert(None) is None
    assert KEYS['model.reduction'].convert([2, 4]) == (2, 4)
    assert all(type(number) is float for number in KEYS['dataset.mean'].convert([0, 0.5]))
    for key, value in (
        ('batch_size', None),
        ('batch_size', 1.0),
        ('schedule.peak_value', True),
        ('schedule.peak_value', 10**400),
        ('dataset.data_dir', 'a\0b'),
        ('dataset.class_names', ()),
        ('dataset.class_names', ('a', '')),
        ('dataset.class_names', 'ab'),
    ):
        with pytest.raises((TypeError, OverflowError)):
            KEYS[key].convert(value)
    for key, text in (('model.reduction', '(2'), ('log.tensorboard', 'x')):
        with pytest.raises(ValueError):
            KEYS[key].parse(text)


def test_no_such_key_names_the_nearest():
    for name, meant in (
        ('BATCHSIZE', 'batch_size'),
        ('modle.dim', 'model.dim'),
        ('weight_decay', 'optimizer.weight_decay'),
        ('optimizer.lr', 'schedule.peak_value'),
    ):
        assert no_such_key(name, KEYS) == f'there is no such key; did you mean {meant}?'
    assert no_such_key('x' * 5000, KEYS) == 'there is no such key; configs/common.py lists them all'
    assert no_such_key('checkpoint', KEYS).startswith(
        'checkpoint is a group of keys; set one of them, e.g. checkpoint.'
    )
