"""What an exported file and its directory say of the network."""

import json
import types

import pytest

from dsconv import config as configuration
from dsconv.errors import InputError
from dsconv.exported import describe
from dsconv.exporting import card


def test_a_damaged_report_is_named(tmp_path):
    config = configuration.defaults()
    config.dataset.channels = 3
    (tmp_path / 'report').mkdir()
    (tmp_path / 'report' / 'report.json').write_text('{"accuracy": ')
    with pytest.raises(InputError, match='report.json is damaged .* write it anew'):
        card.metadata(types.SimpleNamespace(config=config), tmp_path, float_input=False)


def test_class_names_of_any_text_are_a_line_each_and_come_back():
    names = ['a, "b"', 'two\nlines', '漢字', '\udcff']
    assert card.labels(names).encode().split(b'\n') == [b'a, "b"', b'two lines', '漢字'.encode(), rb'\udcff']
    assert json.loads(describe({'class_names': names}).encode())['class_names'] == names
