import types

import pytest


@pytest.fixture
def settings():
    """A config's `dataset` section with everything unset, and what a test changes."""

    def make(**changed):
        unset = dict(
            name='digits',
            data_dir=None,
            archive=None,
            validation_fraction=0.0,
            fold=None,
            train_fraction=1.0,
            image_size=None,
            channels=None,
            class_names=None,
            memory_gigabytes=4.0,
            root=None,
            image_key=None,
            label_key=None,
            split_key=None,
            group_key=None,
            splits=None,
            resize='squash',
            crop_scale=None,
            crop_ratio=(0.75, 4 / 3),
            auto=None,
        )
        return types.SimpleNamespace(**unset | changed)

    return make
