import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import feed
from dsconv.config_checks import resolve_without_data
from dsconv.data import train_batches
from dsconv.errors import InputError
from tests.benchmarks.test_augment import small


def test_the_rate_is_of_what_comes_after_the_warm_up():
    now, closed = 0.0, []

    def stream():
        nonlocal now
        try:
            for count in (1000, 1000, 10, 20, 30, 1000):
                now += 100 if count == 1000 else 0.5
                yield count
        finally:
            closed.append(True)

    assert feed.images_per_second(stream, seconds=1.5, clock=lambda: now) == 60 / 1.5
    assert closed == [True]


def test_every_case_is_measured_on_any_config(monkeypatch):
    pytest.importorskip('tensorflow_datasets')
    monkeypatch.setattr(feed, 'MEMORY_IMAGES', 100)
    with pytest.raises(InputError, match='batch_size=12 is not a multiple of the 8 devices; use 8 or 16'):
        feed.measure(small('batch_size=12', 'model.norm_groups=1'), rounds=1, seconds=0, pictures=20)
    of_all = ('batch_size=16', 'dataset.image_size=16', 'dataset.channels=1', 'steps_per_dispatch=3')
    config = small(*of_all, 'dataset.on_device=true')  # of the one case alone
    result = json.loads(json.dumps(feed.measure(config, rounds=2, seconds=0, pictures=40)))
    assert set(result['images_per_second']) == set(feed.CASES)
    for rates in result['images_per_second'].values():
        assert len(rates['by_round']) == 2
        assert 0 < min(rates['by_round']) == rates['min'] <= rates['median'] <= rates['max'] == max(rates['by_round'])
    text = feed.as_text(result)
    assert text.startswith('Shuffled batches of 16 images of 16×16×1, nothing trained, on 8 × ')
    assert all(about in text for about in feed.CASES.values())


def test_the_streamed_sources_hold_the_same_pictures_and_keep_none(tmp_path):
    pytest.importorskip('tensorflow_datasets')
    feed.write_folder(tmp_path / 'folder', count=12, classes=10)
    feed.write_records(tmp_path / 'folder', tmp_path / 'records')
    of_other_data = ('dataset.validation_fraction=0.5', 'dataset.group_key=patient', 'dataset.splits=train=a,test=b')
    config = resolve_without_data(small('dataset.image_size=224', *of_other_data))
    names = (f'image_folder:{tmp_path / "folder"}', 'pictures')
    splits = [feed.streamed_split(config, name, tmp_path / 'records') for name in names]
    assert not any(split.in_memory for split in splits)
    folder, records = [next(train_batches(split, batch_size=12, seed=0, start_step=0, num_steps=1)) for split in splits]
    order, other = (np.lexsort((images.sum((1, 2, 3)), labels)) for images, labels in (folder, records))
    np.testing.assert_array_equal(folder[0][order], records[0][other])
    np.testing.assert_array_equal(np.sort(folder[1]), [0, 0, 1, 1, *range(2, 10)])
    picture = np.asarray(Image.open(tmp_path / 'folder' / '003' / '000003.jpg'))
    np.testing.assert_array_equal(folder[0][folder[1] == 3][0], picture)


def test_memory_holds_what_it_may_and_a_batch(monkeypatch):
    monkeypatch.setattr(feed, 'MEMORY_BYTES', 1_000_000)
    for batch_size, count in ((256, 1_000_000 // (32 * 32 * 3)), (512, 512)):
        split = feed.memory_split(resolve_without_data(small(f'batch_size={batch_size}')))
        assert split.num_examples == count and len(np.unique(split.images(np.arange(8)))) == 256
        assert split.labels.dtype == np.int32 and set(split.labels) == set(range(10))
