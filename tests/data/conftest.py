import types

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def settings():
    """A config's `dataset` section with everything unset, and what a test changes."""

    def make(**changed):
        unset = dict(
            name='digits',
            data_dir=None,
            archive=None,
            validation_fraction=0.0,
            train_fraction=1.0,
            image_size=None,
            channels=None,
            class_names=None,
            memory_gigabytes=4.0,
        )
        return types.SimpleNamespace(**unset | changed)

    return make


@pytest.fixture
def write_pictures(tmp_path):
    """Writes `count` random size×size PNGs a class into `tmp_path/root/<folder>/<class>`; returns the root."""

    def write(classes=('cat', 'dog'), count=10, size=8, folder='', root='pictures'):
        generator = np.random.default_rng(0)
        for name in classes:
            path = tmp_path / root / folder / name
            path.mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (size, size, 3), np.uint8)
                Image.fromarray(pixels).save(path / f'{i:03d}.png')
        return tmp_path / root

    return write
