import json
import shlex
import shutil

import pytest

from dsconv import cli
from dsconv import config as configuration
from dsconv.errors import InputError, RunError
from dsconv.studies import ablation
from dsconv.studies.cells import is_finished, make_cells, open_once, read_outcome, train_cells
from dsconv.studies.study import Study, read_study
from dsconv.training.run import PICTURES
from tests.commands import refusal
from tests.studies.grid import OVERRIDES, STUDY, Runs


def cells_of(directory, variants, overrides=OVERRIDES, config='configs/digits.py'):
    """Cells of seed 0; variant → its overrides."""
    study = Study('mine', 'Mine', {name: tuple(keys) for name, keys in variants.items()}, '--study=mine.toml')
    return make_cells(study, config, overrides, (0,), directory)


@pytest.fixture
def cells(tmp_path):
    (tmp_path / 'mine.toml').write_text(STUDY)
    study = read_study(str(tmp_path / 'mine.toml'))
    return make_cells(study, 'configs/digits.py', OVERRIDES, (0, 7), tmp_path / 'a study')


def test_seeds_come_one_after_another_and_a_command_trains_the_same_run(cells, tmp_path):
    variants = ('first', 'wide', 'no warm-up')
    assert [(cell.variant, cell.seed) for cell in cells] == [(name, seed) for seed in (0, 7) for name in variants]
    assert cells[4].workdir == tmp_path / 'a study' / 'cells' / 'wide' / 'seed-7'
    chosen = [(cell.config.model.dim, cell.config.model.depth, cell.config.seed) for cell in cells[3:5]]
    assert chosen == [(8, 1, 7), (16, 1, 7)]  # a variant has the last word over the person's own
    assert {cell.config.eval.final_split for cell in cells} == {'validation'}
    for cell in cells:
        program, overrides = shlex.split(cell.command)[:3], shlex.split(cell.command)[3:]
        overrides, others = cli.take_overrides(overrides)
        assert [program, others] == [
            ['python', '-m', 'dsconv.main'],
            ['--config=configs/digits.py', f'--workdir={cell.workdir}'],
        ]
        assert configuration.load('configs/digits.py', overrides) == cell.config


def test_a_setting_of_another_network_than_that_of_the_file_is_taken_by_those_that_take_it(tmp_path):
    file = tmp_path / 'zoo.py'
    file.write_text(
        'from configs import digits\n\n\ndef get_config():\n    config = digits.get_config()\n'
        "    config.model.name = 'resnet8'\n    return config\n"
    )
    study = Study('mine', 'Mine', {'a': (), 'b': ('model.name=dsconv',)}, 'mine')
    cells = make_cells(study, str(file), ['model.dim=24'], (0,), tmp_path)
    assert [('model.dim=24' in cell.command) for cell in cells] == [False, True]


def test_a_validation_part_is_held_out_where_there_is_none(tmp_path, write_pictures):
    variants = {'a': [], 'b': ['dataset.validation_fraction=0.25'], 'c': ['dataset.name=digits']}
    cells = cells_of(tmp_path, variants, [f'dataset.name=image_folder:{write_pictures(count=20)}'])
    assert [cell.config.dataset.validation_fraction for cell in cells] == [0.1, 0.25, 0]


def test_each_seed_is_scored_on_a_fold_of_its_own(tmp_path, write_pictures, monkeypatch):
    folder, study = write_pictures(count=20), Study('mine', 'Mine', {'a': (), 'b': ('batch_size=4',)}, 'mine')
    options = dict(seeds=(0, 1, 5), output=tmp_path, folds=3)
    cells = make_cells(study, 'configs/fast.py', [f'dataset.name=image_folder:{folder}'], **options)
    assert [cell.config.dataset.fold for cell in cells] == ['1/3', '1/3', '2/3', '2/3', '3/3', '3/3']
    assert open_once(cells[0].config.dataset).split_sizes == {'train': 26, 'validation': 14}
    (tmp_path / 'of_one.py').write_text(
        'from configs import fast\ndef get_config():\n    config = fast.get_config()\n'
        f'    config.dataset.update(name={f"image_folder:{folder}"!r}, fold="2/3")\n    return config\n'
    )
    of_one = make_cells(study, str(tmp_path / 'of_one.py'), [], seeds=(0, 1), output=tmp_path)
    monkeypatch.setattr(ablation, '_cost', lambda config: {})
    assert [ablation.summarise(study, these)['folds'] for these in (cells, of_one)] == [3, None]
    with pytest.raises(InputError, match='^--folds=3 must not be set: this dataset already has a validation split'):
        make_cells(study, 'configs/digits.py', [], **options)


@pytest.mark.parametrize(
    ('overrides', 'variant', 'message'),
    [
        (['eval.final_split=test'], [], '--config.eval.final_split=test: a study is scored on the validation split'),
        (['eval.patience=3'], [], '--config.eval.patience=3: the runs of a study have equal lengths'),
        ([], ['model.dim=wide'], '--study=mine.toml, variant b: model.dim=wide must be a whole number'),
        ([], ['dataset.name=image_folder:no/such'], '--study=mine.toml, variant b: '),
    ],
)
def test_what_is_impossible_is_said_before_anything_is_trained(overrides, variant, message, tmp_path):
    assert refusal(cells_of, tmp_path, {'a': [], 'b': variant}, overrides).startswith(message)
    assert not list(tmp_path.iterdir())


def test_a_cell_that_fails_does_not_end_the_study_and_is_tried_again(cells, monkeypatch):
    outcomes = {(cell.variant, cell.seed): 0.5 for cell in cells}
    outcomes['wide', 0] = RunError('the loss is not finite')
    outcomes['first', 7] = MemoryError('4 GB\nneeded')
    runs = Runs(monkeypatch, outcomes)
    assert list(train_cells(cells)) == cells
    states = {(one['variant'], one['seed']): (one['state'], one.get('error')) for one in map(read_outcome, cells)}
    assert states.pop(('wide', 0)) == ('failed', 'the loss is not finite')
    assert states.pop(('first', 7)) == ('failed', 'MemoryError: 4 GB')
    assert set(states.values()) == {('finished', None)}
    runs.trained, runs.outcomes['wide', 0] = [], 0.75
    assert [(cell.variant, cell.seed) for cell in train_cells(cells)] == [('wide', 0), ('first', 7)] == runs.trained
    assert (read_outcome(cells[1])['state'], read_outcome(cells[1])['accuracy']) == ('finished', 0.75)
    assert not cells[1].failure_file.exists()


def test_a_report_by_hand_changes_nothing(cells, monkeypatch):
    runs = Runs(monkeypatch, {('first', 0): 0.625})
    list(train_cells(cells[:1]))
    finished = read_outcome(cells[0])
    assert [finished[key] for key in ('accuracy', 'validation_images', 'images_per_second')] == [0.625, 180, 100]
    report = cells[0].workdir / 'report' / 'report.json'
    report.write_text(json.dumps({'num_examples': 360, 'split': 'test', 'accuracy': 0.1}))
    assert read_outcome(cells[0]) == finished
    log = cells[0].workdir / 'metrics.jsonl'
    log.write_text(''.join(line for line in log.read_text().splitlines(True) if '"epoch": 3' not in line))
    assert read_outcome(cells[0])['state'] == 'unfinished'  # broken off after its first epoch
    assert [cell.variant for cell in train_cells(cells[:1])] == ['first'] and runs.trained == [('first', 0)] * 2


def test_a_run_of_another_config_or_length_is_no_cell(cells, monkeypatch, tmp_path):
    Runs(monkeypatch, {('first', 0): 0.5})
    list(train_cells(cells[:1]))
    assert is_finished(cells[0])
    for override, message in (
        ('model.depth=2', 'contains another run (model.depth: 1 → 2'),
        ('eval.recalibration_batches=5', 'ended with eval.recalibration_batches=0, not 5'),
        ('steps_per_dispatch=7', 'ended with steps_per_dispatch=1, not 7'),
        ('loss.class_weights=balanced', 'contains another run (loss.class_weights: none → balanced'),
    ):
        assert message in refusal(is_finished, *cells_of(tmp_path / 'a study', {'first': [override]}))
    (tried,) = train_cells(cells_of(tmp_path / 'a study', {'first': []}, [*OVERRIDES, 'epochs=4']))
    assert 'holds a run of epochs=3, not 4: use another --output' in read_outcome(tried)['error']
    (same,) = cells_of(tmp_path / 'a study', {'first': ['dataset.train_fingerprint=f00']})  # of --config=config.json
    assert is_finished(same)
    shutil.rmtree(cells[0].workdir / 'report')
    assert not is_finished(tried)  # without a checkpoint it may begin with other settings


def test_what_the_pictures_choose_is_not_taken_from_a_run_that_was_told_it(monkeypatch, tmp_path, write_pictures):
    Runs(monkeypatch, {('a', 0): 0.5})
    config = f'configs/pictures.py:{write_pictures()}'
    for typed, then, message in (
        (['epochs=3'], [], 'holds a run of epochs=3, not 200: use another --output'),
        (['epochs=3', 'batch_size=2'], ['epochs=3'], 'contains another run (batch_size: 2 → 8'),
    ):
        (cell,) = cells_of(tmp_path / typed[-1], {'a': []}, typed, config)
        list(train_cells([cell]))
        assert is_finished(cell)
        assert message in refusal(is_finished, *cells_of(tmp_path / typed[-1], {'a': []}, then, config))


def test_pictures_that_changed_during_a_study_are_noticed(monkeypatch, tmp_path, write_pictures):
    Runs(monkeypatch, {('a', 0): 0.5})
    (cell,) = cells_of(
        tmp_path / 'a study', {'a': []}, [*OVERRIDES, f'dataset.name=image_folder:{write_pictures(count=60)}']
    )
    list(train_cells([cell]))
    (cell.workdir / PICTURES).write_bytes(open_once(cell.config.dataset).table())
    assert is_finished(cell)
    (cell.workdir / PICTURES).write_bytes(b'those of yesterday')
    with pytest.raises(InputError, match='was started with other pictures.*: restore them'):
        is_finished(cell)


def test_an_option_of_some_variants_is_not_refused_for_the_config_alone(tmp_path):
    cells = make_cells(read_study('optimizer'), 'configs/digits.py', ['optimizer.momentum=0.8'], (0,), tmp_path)
    assert len(cells) == 5
