import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dsconv.data import Processes, open_source, processes
from dsconv.errors import InputError


def on_processes(count, function):
    """`function(Processes)` on so many threads that stand for processes; returns what each returned."""
    barrier, sent = threading.Barrier(count, timeout=60), [None] * count

    def run(index):
        def gather(array):
            sent[index] = array
            barrier.wait()
            stacked = np.stack(sent)
            barrier.wait()
            return stacked

        try:
            return function(Processes(index, count, gather))
        except InputError as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


@pytest.mark.parametrize('items', [0, 7, 8])
def test_each_item_is_worked_on_once_and_known_to_all(monkeypatch, items):
    monkeypatch.setattr(processes, 'BLOCK_BYTES', 8 * 4)  # 4 rows of two int32
    done = []

    def square(item):
        done.append(item)
        if item == 5:
            raise InputError('five')
        return np.array([item, item**2], np.int32)

    def run(peers):
        blocks = list(peers.attempt_all(square, range(items), np.zeros(2, np.int32)))
        return [row.tolist() for rows, _ in blocks for row in rows], [bool(d) for _, flags in blocks for d in flags]

    expected = [[i, i * i] if i != 5 else [0, 0] for i in range(items)], [i != 5 for i in range(items)]
    assert on_processes(3, run) == [expected] * 3
    assert sorted(done) == list(range(items))


@pytest.mark.parametrize('gigabytes', [1.0, 0.0])
def test_processes_divide_a_folder_and_see_the_same_images(settings, write_pictures, monkeypatch, gigabytes):
    root = write_pictures(count=13)
    (root / 'dog' / '004.png').write_text('broken')
    dataset = settings(name=f'image_folder:{root}', memory_gigabytes=gigabytes)
    alone = open_source(dataset).load('train')
    read, real = [], processes.map_threads

    def noted(function, items):
        read.extend(items)
        return real(function, items)

    monkeypatch.setattr(processes, 'map_threads', noted)
    for source in on_processes(2, lambda peers: open_source(dataset, processes=peers)):
        split = source.load('train')
        np.testing.assert_array_equal(split.labels, alone.labels)
        np.testing.assert_array_equal(split.images(np.arange(20)), alone.images(np.arange(20)))
    assert len(read) == 26 + 25  # headers and pictures, each once


def test_processes_that_see_different_folders_are_told(settings, write_pictures):
    roots = [write_pictures(count=3, root='a'), write_pictures(count=4, root='b')]
    errors = on_processes(
        2, lambda peers: open_source(settings(name=f'image_folder:{roots[peers.index]}'), processes=peers)
    )
    assert all('see different pictures' in str(error) for error in errors)
