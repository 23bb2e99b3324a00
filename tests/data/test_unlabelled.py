"""Pictures as the user gives them: which files they are, and how they are prepared for a network."""

import itertools

import numpy as np
from PIL import Image

from dsconv.data import unlabelled
from dsconv.data.unlabelled import Network, find_pictures


class Echo(Network):
    """Answers with the picture itself, as the network is given it."""

    class_names, image_size, channels, resize = tuple(range(4 * 4 * 3)), 4, 3, 'crop'

    def run(self, images):
        return np.float32(images).reshape(len(images), -1)


def test_a_picture_is_brought_to_size_as_those_of_the_training(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 12, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'wide.png')
    expected = np.asarray(Image.fromarray(pixels).resize((4, 4), Image.Resampling.BILINEAR, (3, 0, 9, 6)))
    for answer in Echo()([tmp_path / 'wide.png', Image.fromarray(pixels), pixels]):
        np.testing.assert_array_equal(answer.reshape(4, 4, 3), expected)


def test_a_pattern_may_go_into_folders_of_folders(tmp_path):
    files = ['0.png', 'a/1.png', 'a/b/2.png', 'a/b/3.txt', 'README']
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    expected = [str(tmp_path / file) for file in files[:3]]
    assert find_pictures([tmp_path / 'README']) == [str(tmp_path / 'README')]
    assert find_pictures([tmp_path / '**' / '*.png']) == find_pictures([tmp_path]) == expected
    Image.new('RGB', (4, 4)).save(tmp_path / 'b', 'PNG')
    assert find_pictures([tmp_path]) == [*expected, str(tmp_path / 'b')]
    assert find_pictures([tmp_path / '**' / '*.gif']) == [str(tmp_path / '**' / '*.gif')]


def test_no_more_than_two_batches_are_in_memory(tmp_path, monkeypatch):
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
    read, real = [], unlabelled.read_picture
    monkeypatch.setattr(unlabelled, 'BATCH_SIZE', 8)
    monkeypatch.setattr(unlabelled, 'read_picture', lambda *given: read.append(given) or real(*given))
    answered = unlabelled.answers(Echo(), [tmp_path / 'a.png'] * 1000)
    for number in range(1, 4):
        assert len(list(itertools.islice(answered, 8))) == 8
        assert 8 * number <= len(read) <= 8 * (number + 1)
