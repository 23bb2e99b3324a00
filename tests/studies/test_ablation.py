import math
from pathlib import Path

import pytest

from dsconv.studies import ablation
from dsconv.studies.cells import Cell
from dsconv.studies.study import Study
from tests.conftest import tiny_config


def test_the_standard_error_is_of_the_images_that_each_variant_is_scored_on(monkeypatch):
    images = {'a': 1000, 'b': 10}

    def outcome(cell):
        facts = {'variant': cell.variant, 'seed': 0, 'state': 'finished', 'accuracy': 0.5}
        return facts | {'validation_images': images[cell.variant]}

    monkeypatch.setattr(ablation, '_cost', lambda config: {'parameters': 1, 'macs': 1})
    monkeypatch.setattr(ablation, 'read_outcome', outcome)
    cells = [Cell(name, 0, tiny_config(), Path('.'), '') for name in images]
    result = ablation.summarise(Study('s', 'S', dict.fromkeys(images, ()), ''), cells)
    assert result['standard_error'] == pytest.approx(math.sqrt(0.25 / 14))
    assert 'Accuracy on 10 to 1,000 validation images' in ablation.as_text(result)
