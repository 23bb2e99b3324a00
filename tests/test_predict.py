"""From a folder of pictures to a trained network, its report and its answers, by `main` and `predict`."""

import json
import logging

import jax
import numpy as np
import pytest
from PIL import Image

from dsconv import config as configuration
from dsconv import data, main, predict
from dsconv.data import picture
from dsconv.errors import InputError
from dsconv.training.scoring import restore_network
from dsconv.training.step import normalise
from tests.conftest import TINY


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """(folder with train/ and val/, workdir of a run of it, the run's log, how often each picture was decoded)."""
    directory = tmp_path_factory.mktemp('folder')
    root, workdir, generator = directory / 'pictures', directory / 'run', np.random.default_rng(0)
    for part, name, count in (('train', 'a cat', 13), ('train', 'a dog', 12), ('val', 'a cat', 4), ('val', 'a dog', 4)):
        (root / part / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (10, 8, 3), np.uint8)
            Image.fromarray(pixels).save(root / part / name / f'{number:02d}.png')
    (root / 'train' / 'a cat' / '05.png').write_bytes(b'broken')
    tiny = TINY | {'dataset.name': f'image_folder:{root}', 'dataset.image_size': 8, 'batch_size': 16, 'epochs': 1}
    tiny |= {'schedule.warmup_epochs': 0}
    line = ['--config=configs/digits.py', f'--workdir={workdir}']
    arguments = main.flags().parse_args(line)
    arguments.overrides = [f'{key}={value}' for key, value in tiny.items()]
    decoded, lines, fit = [], [], picture.fit
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logging.getLogger('dsconv').addHandler(handler)
    logging.getLogger('dsconv').setLevel(logging.INFO)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture, 'fit', lambda *given: decoded.append(given) or fit(*given))
        main.main(arguments)
    logging.getLogger('dsconv').removeHandler(handler)
    return root, workdir, lines, len(decoded)


def test_a_run_decodes_its_folder_once_and_names_a_broken_picture_once(trained):
    _, _, lines, decoded = trained
    assert decoded == 32
    assert sum('05.png' in line for line in lines) == 1
    assert sum('read as train/ (24 pictures), val/ (8 pictures) of 2 classes' in line for line in lines) == 1


def test_a_folder_without_a_test_is_reported_on_its_validation_split(trained):
    _, workdir, lines, _ = trained
    report = json.loads((workdir / 'report' / 'report.json').read_text())
    assert (report['split'], report['num_examples']) == ('validation', 8)
    assert configuration.load_run(workdir).eval.final_split == 'validation'
    assert sum('has no test split: the report is of the validation split' in line for line in lines) == 1


def test_predictions_are_those_of_the_network_in_the_order_asked_for(trained, monkeypatch, capsys):
    root, workdir, _, _ = trained
    monkeypatch.setattr(predict, 'BATCH_SIZE', 8)
    good = sorted(root.glob('val/*/*.png'), reverse=True) + sorted(root.glob('train/a dog/*.png'))
    asked = [*good[:5], root / 'absent.png', *good[5:], root / 'train' / 'a cat' / '05.png']
    arguments = predict.flags().parse_args([f'--workdir={workdir}', '--json', *map(str, asked)])
    with pytest.raises(InputError, match='absent.png: there is no such file; .*05.png: is not a picture'):
        predict.predict(arguments)
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer['picture'] for answer in answers] == [str(path) for path in good]
    config = configuration.load_run(workdir)
    network, variables, _ = restore_network(workdir, config)
    images = np.stack([data.read_picture(path, 8, 3) for path in good])
    logits = network.apply(variables, normalise(images, config.dataset.mean, config.dataset.std))
    for answer, probabilities in zip(answers, np.asarray(jax.nn.softmax(logits)), strict=True):
        assert answer['classes']['a cat'] == pytest.approx(probabilities[0], abs=2e-6)


def test_no_more_than_two_batches_are_read_ahead(trained, monkeypatch):
    root, _, _, _ = trained
    path, read = root / 'val' / 'a cat' / '00.png', []
    real = picture.read_picture
    monkeypatch.setattr(picture, 'read_picture', lambda *given: read.append(given) or real(*given))
    batches = predict._read_batches([path] * 1000, 8, 8, 3)
    for number in range(1, 4):
        next(batches)
        assert 8 * number <= len(read) <= 8 * (number + 1)
