import json
import os
import subprocess
import sys

import numpy as np
import pytest

from dsconv.errors import InputError
from dsconv.reporting import MetricsLog, read_metrics


def log_steps(workdir, steps, restored_step=0):
    with MetricsLog(workdir, restored_step=restored_step, tensorboard=False) as log:
        for step in steps:
            log.write(step=step, epoch=step / 10, split='train', loss=1 / step)


def steps_of(workdir):
    return [line['step'] for line in read_metrics(workdir)]


def test_a_line_holds_plain_numbers(tmp_path):
    with MetricsLog(tmp_path / 'new' / 'run', restored_step=0, tensorboard=False) as log:
        log.write(step=np.int64(20), epoch=np.float32(0.5), split='test', loss=np.float32(0.25), accuracy=np.array(1))
    assert (
        tmp_path / 'new' / 'run' / 'metrics.jsonl'
    ).read_text() == '{"step": 20, "epoch": 0.5, "split": "test", "loss": 0.25, "accuracy": 1.0}\n'


def test_a_line_can_be_read_before_the_log_is_closed(tmp_path):
    with MetricsLog(tmp_path, restored_step=0, tensorboard=False) as log:
        log.write(step=1, epoch=0.1, split='train', loss=2.0)
        assert read_metrics(tmp_path) == [{'step': 1, 'epoch': 0.1, 'split': 'train', 'loss': 2.0}]


@pytest.mark.parametrize('value', [float('nan'), np.float32('-inf')])
def test_non_finite_values_become_null(tmp_path, value):
    with MetricsLog(tmp_path, restored_step=0, tensorboard=False) as log:
        log.write(step=1, epoch=0.1, split='train', loss=value)
    line = (tmp_path / 'metrics.jsonl').read_text()
    assert json.loads(line, parse_constant=lambda name: pytest.fail(f'{name} is not JSON'))['loss'] is None


def test_a_resumed_run_repeats_no_step(tmp_path):
    assert read_metrics(tmp_path) == []
    log_steps(tmp_path, [10, 20, 30, 40])
    log_steps(tmp_path, [30, 40, 50], restored_step=20)
    assert steps_of(tmp_path) == [10, 20, 30, 40, 50]
    log_steps(tmp_path, [10])  # a new run
    assert steps_of(tmp_path) == [10]
    assert os.listdir(tmp_path) == ['metrics.jsonl']


def test_every_beginning_of_a_line_counts_as_torn(tmp_path):
    log_steps(tmp_path, [10, 20])
    path = tmp_path / 'metrics.jsonl'
    whole = path.read_bytes()
    start = whole.index(b'\n') + 1
    for end in range(start, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert steps_of(tmp_path) == [10]
        log_steps(tmp_path, [20], restored_step=20)
        assert path.read_bytes() == whole


def test_an_interrupted_cut_loses_nothing(tmp_path, monkeypatch):
    log_steps(tmp_path, [10, 20])

    def fail(*_):
        raise OSError('killed here')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='killed here'):
        MetricsLog(tmp_path, restored_step=10, tensorboard=False)
    assert steps_of(tmp_path) == [10, 20]


@pytest.mark.parametrize('line', ['nonsense', '[1, 2]', '{"step": null}'])
def test_a_foreign_line_is_named(tmp_path, line):
    (tmp_path / 'metrics.jsonl').write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(InputError, match='line 2'):
        read_metrics(tmp_path)


def test_tensorboard_gets_the_same_scalars(tmp_path):
    with MetricsLog(tmp_path, restored_step=0) as log:
        log.write(step=10, epoch=0.5, split='train', loss=2.5, learning_rate=0.125)
        log.write(step=20, epoch=1.0, split='train', loss=1.5, learning_rate=0.25)
        log.write(step=20, epoch=1.0, split='validation', loss=1.75)
    log.close()  # a second time
    reader = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    events = reader.EventAccumulator(str(tmp_path))
    events.Reload()

    def scalars(tag):
        return [(event.step, event.value) for event in events.Scalars(tag)]

    assert set(events.Tags()['scalars']) == {'train/loss', 'train/learning_rate', 'validation/loss'}
    assert scalars('train/loss') == [(10, 2.5), (20, 1.5)]
    assert scalars('train/learning_rate') == [(10, 0.125), (20, 0.25)]
    assert scalars('validation/loss') == [(20, 1.75)]


def test_reporting_is_light_to_import_and_to_log_to_tensorboard(tmp_path):
    heavy = ('matplotlib', 'sklearn', 'tensorflow', 'tensorboard', 'jax', 'jinja2', 'tabulate')
    script = f'import sys, dsconv.reporting; dsconv.reporting.MetricsLog({str(tmp_path)!r}, restored_step=0).close(); '
    script += f'print([name for name in {heavy} if name in sys.modules])'
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == '[]'
