import json
import shlex

import pytest

from dsconv import cli
from dsconv import config as configuration
from dsconv.errors import InputError, RunError
from dsconv.studies.cells import is_finished, make_cells, open_once, read_outcome, train_cells
from dsconv.studies.study import Study, read_study
from tests.studies.grid import OVERRIDES, STUDY, Runs, folder_without_validation


def study_of(**variants):
    return Study('mine', 'Mine', {name: tuple(keys) for name, keys in variants.items()}, '--study=mine.toml')


@pytest.fixture
def cells(tmp_path):
    (tmp_path / 'mine.toml').write_text(STUDY)
    return make_cells(
        read_study(str(tmp_path / 'mine.toml')), 'configs/digits.py', OVERRIDES, (0, 7), tmp_path / 'a study'
    )


def test_seeds_come_one_after_another_in_workdirs_of_their_own(cells, tmp_path):
    assert [(cell.variant, cell.seed) for cell in cells] == [
        (variant, seed) for seed in (0, 7) for variant in ('first', 'wide', 'no warm-up')
    ]
    assert cells[4].workdir == tmp_path / 'a study' / 'cells' / 'wide' / 'seed-7'
    assert (cells[4].config.model.dim, cells[4].config.seed, cells[3].config.model.dim) == (16, 7, 8)
    assert {cell.config.eval.final_split for cell in cells} == {'validation'}


def test_the_command_trains_the_same_run(cells):
    for cell in cells:
        words = shlex.split(cell.command)
        assert words[:3] == ['python', '-m', 'dsconv.main']
        overrides, others = cli.take_overrides(words[3:])
        assert others == ['--config=configs/digits.py', f'--workdir={cell.workdir}']
        assert configuration.load('configs/digits.py', overrides) == cell.config
        assert len({override.split('=')[0] for override in overrides}) == len(overrides)


def test_a_variant_has_the_last_word_over_the_persons_own(tmp_path):
    study = study_of(a=[], b=['model.dim=16'])
    cells = make_cells(study, 'configs/digits.py', ['model.dim=24', 'optimizer.clip_norm=1'], (0,), tmp_path)
    assert [cell.config.model.dim for cell in cells] == [24, 16]
    assert [cell.config.optimizer.clip_norm for cell in cells] == [1, 1]


def test_a_validation_part_is_held_out_where_there_is_none(tmp_path):
    study = study_of(a=[], b=['dataset.validation_fraction=0.25'], c=['dataset.name=digits'])
    folder = f'dataset.name={folder_without_validation(tmp_path)}'
    cells = make_cells(study, 'configs/small.py', [folder], (0,), tmp_path)
    assert [cell.config.dataset.validation_fraction for cell in cells] == [0.1, 0.25, 0]


def test_each_seed_is_scored_on_a_fold_of_its_own(tmp_path):
    folder = f'dataset.name={folder_without_validation(tmp_path)}'
    cells = make_cells(study_of(a=[], b=['batch_size=4']), 'configs/fast.py', [folder], (0, 1, 5), tmp_path, folds=3)
    assert [cell.config.dataset.fold for cell in cells] == ['1/3', '1/3', '2/3', '2/3', '3/3', '3/3']
    assert open_once(cells[0].config.dataset).split_sizes == {'train': 26, 'validation': 14}


@pytest.mark.parametrize(
    ('overrides', 'variant', 'message'),
    [
        (['model.dimm=8'], [], '--config.model.dimm=8: there is no such key; did you mean model.dim'),
        (['eval.final_split=test'], [], '--config.eval.final_split=test: a study is scored on the validation split'),
        ([], ['model.dim=wide'], '--study=mine.toml, variant b: model.dim=wide must be a whole number'),
        ([], ['dataset.name=image_folder:no/such'], '--study=mine.toml, variant b: '),
    ],
)
def test_what_is_impossible_is_said_before_anything_is_trained(overrides, variant, message, tmp_path):
    with pytest.raises(InputError) as caught:
        make_cells(study_of(a=[], b=variant), 'configs/digits.py', overrides, (0,), tmp_path)
    assert str(caught.value).startswith(message)
    assert not list(tmp_path.iterdir())


def test_a_cell_that_fails_does_not_end_the_study_and_is_tried_again(cells, monkeypatch):
    outcomes = {(cell.variant, cell.seed): 0.5 for cell in cells}
    outcomes['wide', 0] = RunError('the loss is not finite')
    outcomes['first', 7] = MemoryError('4 GB\nneeded')
    runs = Runs(monkeypatch, outcomes)
    assert [cell for cell in train_cells(cells)] == cells
    states = {(one['variant'], one['seed']): (one['state'], one.get('error')) for one in map(read_outcome, cells)}
    assert states.pop(('wide', 0)) == ('failed', 'the loss is not finite')
    assert states.pop(('first', 7)) == ('failed', 'MemoryError: 4 GB')
    assert set(states.values()) == {('finished', None)}

    runs.trained, runs.outcomes['wide', 0] = [], 0.75
    assert [(cell.variant, cell.seed) for cell in train_cells(cells)] == [('wide', 0), ('first', 7)] == runs.trained
    assert (read_outcome(cells[1])['state'], read_outcome(cells[1])['accuracy']) == ('finished', 0.75)
    assert not cells[1].failure_file.exists()


def test_a_cell_that_the_data_refuses_has_its_line(tmp_path, monkeypatch):
    runs = Runs(monkeypatch, {('b', 0): 0.5})
    cells = make_cells(study_of(a=['model.patch_size=3'], b=[]), 'configs/digits.py', OVERRIDES, (0,), tmp_path)
    list(train_cells(cells))
    assert runs.trained == [('b', 0)]
    assert read_outcome(cells[0])['error'].startswith('model.patch_size=3 does not divide images of 8×8 pixels')


def test_an_interrupted_study_goes_on_where_it_stopped(cells, monkeypatch):
    outcomes = {(cell.variant, cell.seed): 0.5 for cell in cells} | {('no warm-up', 0): KeyboardInterrupt()}
    runs = Runs(monkeypatch, outcomes)
    with pytest.raises(KeyboardInterrupt):
        list(train_cells(cells))
    assert [read_outcome(cell)['state'] for cell in cells] == ['finished'] * 2 + ['unfinished'] * 4
    runs.trained, runs.outcomes['no warm-up', 0] = [], 0.5
    list(train_cells(cells))
    assert runs.trained == [('no warm-up', 0), ('first', 7), ('wide', 7), ('no warm-up', 7)]


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
    runs.trained = []
    assert [cell.variant for cell in train_cells(cells[:1])] == ['first'] and runs.trained == [('first', 0)]


def test_a_run_of_another_config_or_length_is_no_cell(cells, monkeypatch, tmp_path):
    Runs(monkeypatch, {('first', 0): 0.5})
    list(train_cells(cells[:1]))
    assert is_finished(cells[0])
    (other,) = make_cells(study_of(first=['model.depth=2']), 'configs/digits.py', OVERRIDES, (0,), tmp_path / 'a study')
    with pytest.raises(InputError, match='holds another run .model.depth: 1 → 2'):
        is_finished(other)
    longer = [*OVERRIDES, 'epochs=4']
    (other,) = make_cells(study_of(first=[]), 'configs/digits.py', longer, (0,), tmp_path / 'a study')
    (tried,) = train_cells([other])
    assert 'holds a run of epochs=3, not 4: take another --output' in read_outcome(tried)['error']
