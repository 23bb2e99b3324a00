import numpy as np
import pytest

from configs import common
from dsconv.data import Processes, train_batches


def examples(split):
    """Returns (label, bytes of the image) of each example."""
    images = split.images(np.arange(split.num_examples))
    return [(label, image.tobytes()) for label, image in zip(split.labels.tolist(), images, strict=True)]


def check_crops(open_cropped):
    """Checks random crops, for two epochs or three, of a source by its settings; returns both training splits."""
    source, plain = open_cropped(crop_scale=(0.2, 0.5)), open_cropped()
    assert source.crop_scale == (0.2, 0.5)
    for name in ('train', 'test'):  # read in order, nothing is cropped
        assert examples(source.load(name)) == examples(plain.load(name))
    train = source.load('train')

    def run(**changed):
        options = dict(batch_size=8, seed=3, start_step=0, num_steps=6) | changed
        return [np.stack(arrays) for arrays in zip(*train_batches(train, **options), strict=True)]

    whole, resumed, halves = run(), run(start_step=4), [run(processes=Processes(process, 2)) for process in (0, 1)]
    for number in range(2):  # images, labels
        assert np.array_equal(whole[number][4:], resumed[number])
        assert np.array_equal(whole[number], np.concatenate([half[number] for half in halves], axis=1))
    assert len({image.tobytes() for images in (*whole[0], *run(seed=4)[0]) for image in images}) == 2 * 48
    return train, plain.load('train')


@pytest.fixture
def settings():
    """A config's `dataset` section, by default of the digits, with what a test changes."""

    def make(**changed):
        dataset = common.get_config().dataset
        dataset.update({'name': 'digits'} | changed)
        return dataset

    return make
