import contextlib
import re
import types

import numpy as np
import pytest

from dsconv.data.splits import Split
from dsconv.errors import InputError
from dsconv.training.loop import dispatches
from dsconv.training.mesh import make_mesh, place_on_devices, to_global
from dsconv.training.progress import Progress
from dsconv.training.setup import open_data
from tests.conftest import tiny_config


@pytest.fixture
def split():
    """The odd ones of 150 random images."""
    images = np.random.default_rng(0).integers(0, 256, (150, 4, 4, 3), np.uint8)
    return Split(np.arange(150, dtype=np.int32) % 7, images.__getitem__, True).subset(np.arange(1, 150, 2))


def test_batches_drawn_on_the_devices_are_those_of_the_host_also_from_the_middle_of_an_epoch(split):
    training = types.SimpleNamespace(mesh=make_mesh(), total_steps=27, steps_per_epoch=9, schedule=None)
    feeds, waits = [], []
    for on_device in ('false', 'true'):
        config = tiny_config(batch_size=8, steps_per_dispatch=4, dataset__on_device=on_device)
        progress = Progress(config, training, 5)
        progress.waiting_for_input = lambda: contextlib.nullcontext(waits.append(1))
        feeds.append(list(dispatches(config, training, split, 5, progress)))
    assert len(waits) == 2 * 7  # a fetch for each dispatch is timed
    assert [step for step, _ in feeds[0]] == [9, 13, 17, 18, 22, 26, 27]
    for (step, batch), (same_step, drawn) in zip(*feeds, strict=True):
        assert step == same_step
        for array, other in zip(batch, drawn, strict=True):
            assert array.sharding == other.sharding and array.dtype == other.dtype
            np.testing.assert_array_equal(array, other)


def test_no_image_is_sent_from_one_device_to_another(split):
    mesh = make_mesh()
    draw = place_on_devices(split, mesh)
    indices = to_global(mesh, np.arange(16, dtype=np.int32).reshape(2, 8), leading_axes=1)
    program = draw.func.lower(*draw.args, indices).compile().as_text()
    assert not re.search('all-gather|all-reduce|all-to-all|collective-permute', program)


def test_what_is_read_from_disk_is_refused(write_pictures):
    options = dict(dataset__name=f'image_folder:{write_pictures()}', dataset__on_device='true', batch_size=8)
    open_data(tiny_config(**options))
    with pytest.raises(InputError, match='on_device=true needs data in memory, but .* read from disk'):
        open_data(tiny_config(**options, dataset__memory_gigabytes=0))
    with pytest.raises(InputError, match='dataset.crop_scale cannot be combined'):  # cropped, it is never in memory
        open_data(tiny_config(**options, dataset__memory_gigabytes=0, dataset__crop_scale='0.5,1'))
