"""What an exported file and its directory say of the network."""

import json
import types

from dsconv import config as configuration
from dsconv.exported import metadata_text
from dsconv.exporting import card
from tests.commands import report_of


def test_the_accuracy_is_of_the_checkpoint_that_is_exported(tmp_path):
    config = configuration.defaults()
    config.dataset.update({'name': 'digits', 'channels': 1, 'class_names': ('a', 'b')})
    (tmp_path / 'report').mkdir()
    report = report_of(checkpoint_step=7, accuracy=0.9, split='test')
    (tmp_path / 'report' / 'report.json').write_text(json.dumps(report))
    for step, accuracy, split in ((7, 0.9, 'test'), (8, None, None)):
        network = types.SimpleNamespace(config=config, temperature=None, variables={'params': {}}, step=step)
        metadata = card.metadata(network, tmp_path, float_input=False)
        assert (metadata['accuracy'], metadata['split']) == (accuracy, split)


def test_class_names_of_any_text_are_a_line_each_and_come_back():
    names = ['a, "b"', 'two\nlines', '漢字', '\udcff']
    assert card.labels(names) == 'a, "b"\ntwo lines\n漢字\n\\udcff\n'
    assert json.loads(metadata_text({'class_names': names}).encode())['class_names'] == names


def test_the_table_tells_a_loss_of_accuracy_by_a_minus_and_a_gain_by_a_plus():
    same = {'precision': 'int8', 'bytes': 1499, 'max_difference': 0.05, 'agreement': 0.9, 'milliseconds': None}
    files = [
        {'file': f'{lost}', 'accuracy': 0.9 - lost, 'loss_of_accuracy': lost} | same for lost in (0.02, -0.01, 0.0)
    ]
    _, rows = card.table({'accuracy_jax': 0.9, 'milliseconds_jax': 1.5, 'files': files})
    assert [row[5] for row in rows] == ['90.00 %', '88.00 % (-2.00)', '91.00 % (+1.00)', '90.00 %']
    assert rows[1] == ['0.02', 'int8', '1', '5.0e-02', '90.00 %', '88.00 % (-2.00)', '']
