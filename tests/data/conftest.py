import types

import pytest

UNSET = 'data_dir archive image_size channels class_names root image_key label_key split_key group_key splits fold'
UNSET = dict.fromkeys([*UNSET.split(), 'crop_scale', 'auto'])
DEFAULTS = dict(name='digits', validation_fraction=0.0, train_fraction=1.0, memory_gigabytes=4.0, resize='squash')


@pytest.fixture
def settings():
    """A config's `dataset` section with everything unset, and what a test changes."""
    return lambda **changed: types.SimpleNamespace(**UNSET | DEFAULTS | dict(crop_ratio=(0.75, 4 / 3)) | changed)
