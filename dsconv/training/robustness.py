"""Accuracy of a network on corrupted images, which it was not trained on."""

import logging
import types
from collections.abc import Callable

import numpy as np

from dsconv import data
from dsconv.data.corruptions import CIFAR10_C, CORRUPTIONS, SEVERITIES, CorruptedSplit
from dsconv.errors import InputError
from dsconv.training.evaluation import Evaluator

logger = logging.getLogger('dsconv')
MADE_HERE = 'made by dsconv with the parameters of CIFAR-10-C (blur scaled to the image size)'
PUBLISHED = 'the published CIFAR-10-C (cifar10_corrupted of TensorFlow Datasets)'


def robustness(evaluator: Evaluator, variables, config, split: str, examples) -> dict:
    """Scores a split under every corruption at every severity with the compiled step of `evaluator`, one pass for each.

    The test split of CIFAR-10 is scored on the published CIFAR-10-C if its 15 corruptions are prepared in
    `dataset.data_dir`. Otherwise `examples`, the split, is corrupted by `dsconv.data.corruptions`.

    Returns `source`, the origin of the corruptions; `mean_accuracy`; `accuracy`: corruption → one per severity, 1 to 5.
    """
    load, accuracy = _cifar10_c(config.dataset) if split == 'test' else None, {}
    names, source = (CIFAR10_C, PUBLISHED) if load else (CORRUPTIONS, MADE_HERE)
    load = load or (lambda name, severity: CorruptedSplit(examples, name, severity, config.seed))
    for name in names:
        accuracy[name] = [evaluator.score(variables, load(name, severity))['accuracy'] for severity in SEVERITIES]
        logger.info('%s: accuracy %.2f %%', name, 100 * np.mean(accuracy[name]))
    return {'source': source, 'mean_accuracy': float(np.mean(list(accuracy.values()))), 'accuracy': accuracy}


def _cifar10_c(dataset) -> Callable | None:
    """Returns (corruption, severity) → a split of the published CIFAR-10-C, or None if it cannot be used."""
    if (dataset.name.split(':')[0], dataset.image_size, dataset.channels) != ('cifar10', 32, 3) or dataset.splits:
        return None

    def open_test(name, severity):
        own = dict(dataset.items(), archive=None, splits=None, validation_fraction=0.0, fold=None)
        return data.open_source(types.SimpleNamespace(**own | {'name': f'cifar10_corrupted/{name}_{severity}'}))

    try:
        for name in CIFAR10_C:
            for severity in SEVERITIES:
                open_test(name, severity)  # reads only the metadata
    except InputError as error:
        logger.info('corruptions are %s, since %s', MADE_HERE, str(error).split(': prepare it')[0])
        return None
    return lambda name, severity: open_test(name, severity).load('test')  # opened anew: a source keeps its decoded data
