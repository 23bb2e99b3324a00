import os
from unittest.mock import Mock

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


def test_a_line_holds_plain_numbers_null_where_not_finite_and_can_be_read_at_once(tmp_path):
    file = tmp_path / 'new' / 'run' / 'metrics.jsonl'
    with MetricsLog(file.parent, restored_step=0, tensorboard=False) as log:
        log.write(step=np.int64(20), epoch=np.float32(0.5), split='test', loss=np.float32('-inf'), accuracy=np.array(1))
        assert file.read_text() == '{"step": 20, "epoch": 0.5, "split": "test", "loss": null, "accuracy": 1.0}\n'


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
    for end in (*range(start, start + 12), len(whole) - 2):
        path.write_bytes(whole[:end])
        assert steps_of(tmp_path) == [10]
        log_steps(tmp_path, [20], restored_step=20)
        assert path.read_bytes() == whole


def test_an_interrupted_cut_loses_nothing(tmp_path, monkeypatch):
    log_steps(tmp_path, [10, 20])
    monkeypatch.setattr(os, 'replace', Mock(side_effect=OSError('killed here')))
    with pytest.raises(OSError, match='killed here'):
        MetricsLog(tmp_path, restored_step=10, tensorboard=False)
    assert steps_of(tmp_path) == [10, 20]


def test_a_foreign_line_is_named(tmp_path):
    good = '{"step": 1, "epoch": 1.0, "split": "train"}'
    wrong = (
        f'{good[:-1]}, "step": null}}',
        f'{good[:-1]}, "loss": "x"}}',
        '{"step": 1, "epoch": 1.0, "split": "test"}',
    )
    for line in ('nonsense', '[1, 2]', *wrong):
        (tmp_path / 'metrics.jsonl').write_text(f'{good}\n{line}\n{good}\n')
        with pytest.raises(InputError, match='line 2'):
            read_metrics(tmp_path)


def test_tensorboard_reads_the_same_scalars(tmp_path):
    with MetricsLog(tmp_path, restored_step=0) as log:
        log.write(step=10, epoch=0.5, split='train', loss=2.5, learning_rate=0.125)
        log.write(step=70_000, epoch=1.0, split='train', loss=1.5, learning_rate=0.25)
        log.write(step=70_000, epoch=1.0, split='validation', loss=1.75)
    log.close()  # a second time
    reader = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    events = reader.EventAccumulator(str(tmp_path))
    events.Reload()
    found = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()['scalars']}
    assert found == {
        'train/loss': [(10, 2.5), (70_000, 1.5)],
        'train/learning_rate': [(10, 0.125), (70_000, 0.25)],
        'validation/loss': [(70_000, 1.75)],
    }
