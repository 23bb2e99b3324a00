import types

import numpy as np

from benchmarks import rare_class
from dsconv.config import defaults
from dsconv.data import open_source


def test_the_table_has_the_counts_the_classes_and_no_picture_twice(tmp_path, monkeypatch):
    pixels = np.arange(40, dtype=np.uint8).repeat(8 * 8 * 3).reshape(40, 8, 8, 3)
    split = types.SimpleNamespace(labels=np.arange(40) % 4, images=pixels.__getitem__)
    source = types.SimpleNamespace(class_names=('bird', 'cat', 'deer', 'dog'), load={'train': split}.get)
    monkeypatch.setattr(rare_class, 'open_source', lambda _: source)
    monkeypatch.setattr(
        rare_class, 'COUNTS', {'cat': {'train': 5, 'validation': 4}, 'dog': {'train': 1, 'validation': 4}}
    )
    rare_class.write(rare_class.flags().parse_args([str(tmp_path)]))
    config = defaults()
    config.dataset.name = f'image_table:{tmp_path}/table.csv'
    table, seen = open_source(config.dataset), []
    assert table.class_names == ('cat', 'dog')
    for part, counts in (('train', [5, 1]), ('validation', [4, 4])):
        written = table.load(part)
        assert np.bincount(written.labels).tolist() == counts
        numbers = written.images(np.arange(written.num_examples))[:, 0, 0, 0]
        assert (numbers % 4 == np.where(written.labels == 0, 1, 3)).all()  # of its class in the source
        seen += numbers.tolist()
    assert len(set(seen)) == 14
