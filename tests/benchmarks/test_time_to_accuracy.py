import json
import re

import pytest

from benchmarks import time_to_accuracy
from benchmarks.time_to_accuracy import as_text, comparable, points_of, summary_of
from dsconv import benchmark
from dsconv import config as configuration
from dsconv.errors import InputError, RunError
from dsconv.training import loop
from tests.commands import run

DIGITS = 'from configs import digits\n\n\ndef get_config():\n    config = digits.get_config()\n'
TINY = """
    config.model.dim, config.model.depth, config.batch_size = 8, 0, 64
    config.log.tensorboard, config.augment.policy, config.optimizer.ema_decay = False, 'none', None
    config.schedule.warmup_epochs = 0.25
    return config
"""


def trained(step, rate=None):
    return {'step': step, 'epoch': step / 10, 'split': 'train'} | ({} if rate is None else {'images_per_second': rate})


def scored(step, accuracy, split='validation'):
    return {'step': step, 'epoch': step / 10, 'split': split, 'accuracy': accuracy}


def run_of(*accuracies):
    """Points of a run of ten steps of 20 images an epoch, 2 s at 100 images/s."""
    lines = [line for n, a in enumerate(accuracies, 1) for line in (trained(10 * n, 100.0), scored(10 * n, a))]
    return points_of(lines, batch_size=20)


def test_seconds_are_images_by_their_rates_or_by_the_median_of_them_where_a_line_has_none():
    lines = [trained(6, 60.0), trained(10, 40.0), scored(10, 0.5), trained(16, 120.0), trained(20, 80.0)]
    assert points_of([*lines, scored(20, 0.6), scored(20, 0.9, 'test')], batch_size=20) == [
        {'epoch': 1, 'seconds': 120 / 60 + 80 / 40, 'accuracy': 0.5},
        {'epoch': 2, 'seconds': 4 + 120 / 120 + 80 / 80, 'accuracy': 0.6},
    ]
    lines = [trained(10), scored(10, 0.5), trained(20, 50.0), trained(30, 100.0), trained(40, 400.0), scored(40, 0.6)]
    assert [point['seconds'] for point in points_of(lines, batch_size=20)] == [2, 2 + 4 + 2 + 0.5]
    with pytest.raises(RunError, match='too short to be timed'):
        points_of(lines[:2], batch_size=20)


def test_the_table_has_both_seeds_the_first_epoch_at_each_target_and_the_median_of_the_ratios():
    targets = (65.0, 70.0, 80.0)
    points = {
        'fast': [run_of(0.66, 0.71), run_of(0.5, 0.66, 0.6)],
        'small': [run_of(0.5, 0.6, 0.68, 0.7999), run_of(0.6, 0.65)],
    }
    runs = {
        recipe: {str(seed): {'points': own, **summary_of(own, targets)} for seed, own in enumerate(seeds)}
        for recipe, seeds in points.items()
    }
    names = [f'{target:g} %' for target in targets]
    ratio = {name: time_to_accuracy._ratio(runs['small'], runs['fast'], name) for name in names}
    assert ratio == {'65 %': (3 + 1) / 2, '70 %': None, '80 %': None}
    result = {'targets': targets, 'devices': '1 × cpu', 'cores': 2, 'cpu': 'of some kind', 'runs': runs, 'ratio': ratio}
    header, _, *rows = [re.split('  +', line.strip()) for line in as_text(result).splitlines()[3:]]
    assert header == ['fast, seed 0', 'fast, seed 1', 'small, seed 0', 'small, seed 1', 'small ÷ fast']
    assert rows[0] == ['65 %', '2 s, 1 epochs', '4 s, 2 epochs', '6 s, 3 epochs', '4 s, 2 epochs', '2']
    assert rows[1] == ['70 %', '4 s, 2 epochs', 'not reached', '8 s, 4 epochs', 'not reached', '-']
    assert rows[2] == ['80 %', *['not reached'] * 4, '-']
    assert rows[3] == ['final accuracy', '71.00 %', '60.00 %', '79.99 %', '65.00 %', '-']
    assert rows[4] == ['whole run', '4 s, 2 epochs', '6 s, 3 epochs', '8 s, 4 epochs', '4 s, 2 epochs', '-']


def test_both_have_the_same_data_and_length_and_leave_the_test_split_alone(tmp_path):
    file = tmp_path / 'fast.py'
    file.write_text(DIGITS + "    config.epochs = 10\n    config.eval.final_split = 'test'\n" + TINY)
    recipes = comparable(configuration.load(str(file), ['eval.patience=2']), str(file), 'configs/small.py')
    fast, small = recipes.values()
    assert list(recipes) == ['fast', 'small'] and small.dataset.name == fast.dataset.name == 'digits'
    assert small.dataset.validation_fraction == 0  # the digits have a validation split of their own
    assert (small.epochs, small.schedule.warmup_epochs, small.batch_size) == (10, 1, 512)
    assert fast.schedule.warmup_epochs == 0.25
    assert {(recipe.eval.final_split, recipe.eval.patience) for recipe in recipes.values()} == {('validation', None)}
    with pytest.raises(InputError, match='^--baseline=elsewhere.py: there is no such file'):
        comparable(fast, 'configs/digits.py', 'elsewhere.py')
    with pytest.raises(InputError, match='^--baseline=configs/digits.py has the same name as --config=other/digits.py'):
        comparable(fast, 'other/digits.py', 'configs/digits.py')


def test_what_is_chosen_by_the_pictures_is_not_the_baselines(write_pictures):
    config = configuration.load(f'configs/pictures.py:{write_pictures(count=20)}', ['dataset.validation_fraction=0.25'])
    pictures, small = comparable(config, 'configs/pictures.py', 'configs/small.py').values()
    assert (pictures.batch_size, small.batch_size) == (8, 512) and pictures.epochs == small.epochs > 1
    assert pictures.dataset.auto is None is small.dataset.auto and pictures.eval.every_epochs == 1


def test_tiny_runs_are_trained_once(tmp_path, monkeypatch, capsys):
    order, train = [], loop.train

    def recorded(config, workdir):
        order.append(f'{workdir.parent.name} {config.seed}')
        return train(config, workdir)

    monkeypatch.setattr(loop, 'train', recorded)
    for name, extra in (('quick', '    config.log.every_steps = 5\n    config.epochs = 2\n'), ('plain', '')):
        (tmp_path / f'{name}.py').write_text(DIGITS + extra + TINY)
    line = [f'--config={tmp_path / "quick.py"}', f'--baseline={tmp_path / "plain.py"}', '--what=time-to-accuracy']
    line += ['--seeds=3', '--targets=99.9,1', f'--workdir={tmp_path / "runs"}', f'--output={tmp_path / "out"}']
    written = []
    for _ in range(2):
        code, output, _ = run(benchmark, line, capsys)
        assert code == 0 and '99.9 %' in output
        written.append(json.loads((tmp_path / 'out' / 'benchmark.json').read_text()))
    assert order == ['quick 3', 'plain 3'] * 2 and written[0] == written[1]
    result = written[0]
    assert (result['seeds'], result['targets']) == ([3], [1.0, 99.9]) and result['ratio']['1 %'] > 0
    for runs in result['runs'].values():
        first, second = runs['3']['points']
        assert (first['epoch'], second['epoch']) == (1, 2) and 0 < first['seconds'] < second['seconds']
        assert runs['3']['reached'] == {'1 %': first, '99.9 %': None}
    assert 'log.every_steps: 50 → 5' in result['recipes']['quick']
    assert (tmp_path / 'out' / 'benchmark.png').stat().st_size < 40_000
    code, _, errors = run(benchmark, [*line, '--config.epochs=3'], capsys)
    assert code == 2 and 'quick/seed-3 holds a run of epochs=2, not 3: use another --workdir' in errors
    config = configuration.load_run(tmp_path / 'runs' / 'plain' / 'seed-3')
    assert (config.seed, config.epochs, config.eval.final_split) == (3, 2, 'validation')


def test_a_baseline_that_the_data_refuses_is_refused_before_anything_is_trained(write_pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, 'train', lambda *_: pytest.fail('the other one was trained'))
    name = f'configs/pictures.py:{write_pictures(count=60)}'
    with pytest.raises(InputError, match='^small: batch_size=512 is more than the .* training images'):
        time_to_accuracy.measure(configuration.load(name), name, workdir=tmp_path)
