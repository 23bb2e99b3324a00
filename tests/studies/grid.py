"""A study without training: runs that end at once with an accuracy that the test chooses."""

import json

from dsconv import config as configuration
from dsconv.reporting import MetricsLog
from dsconv.training import loop, scoring
from dsconv.training.run import check_workdir
from dsconv.training.setup import open_data
from tests.conftest import TINY

OVERRIDES = [f'{key}={value}' for key, value in TINY.items()]
STUDY = """
title = 'How wide'
[variants.first]
[variants.wide]
model.dim = 16
[variants.'no warm-up']
schedule.warmup_epochs = 0
loss.class_weights = 'balanced'
"""


class Runs:
    """Stands in for training and reporting.

    Attributes:
      outcomes: (variant, seed) → accuracy, or an exception that the run ends with.
      trained: (variant, seed) of the runs that were started, in order.
    """

    def __init__(self, monkeypatch, outcomes):
        self.outcomes, self.trained = outcomes, []
        monkeypatch.setattr('jax.clear_caches', lambda: None)  # nothing was compiled for these runs
        monkeypatch.setattr('gc.collect', lambda *_: 0)
        monkeypatch.setattr(loop, 'train', self.train)
        monkeypatch.setattr(scoring, 'report_run', self.report_run)

    def train(self, config, workdir, source=None):
        key = (workdir.parent.name, config.seed)
        _, _, config = open_data(config)
        check_workdir(workdir, config)
        configuration.save_run(workdir, config, {})
        self.trained.append(key)
        outcome = self.outcomes[key]
        if isinstance(outcome, BaseException):
            raise outcome
        with MetricsLog(workdir, restored_step=0, tensorboard=False) as log:
            log.write(step=5, epoch=0.5, split='train', images_per_second=100.0 + config.seed)
            log.write(step=10, epoch=1, split='validation', accuracy=0.99)
            log.write(step=30, epoch=3, split='validation', accuracy=outcome)
        return True

    def report_run(self, workdir, split, which, source=None):
        assert (split, which) == ('validation', 'latest')
        (workdir / 'report').mkdir(exist_ok=True)
        (workdir / 'report' / 'report.json').write_text(json.dumps({'num_examples': 180, 'accuracy': 0.99}))
