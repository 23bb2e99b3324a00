"""How well a network classifies images that are damaged in ways it was not trained on."""

import logging

import numpy as np

from dsconv.data.corruptions import CORRUPTIONS, SEVERITIES, CorruptedSplit
from dsconv.training.evaluation import Evaluator


def robustness(evaluator: Evaluator, variables, split, seed: int) -> dict:
    """Accuracy under every corruption at every severity. The split is read, a batch at a time, once for each.

    Args:
      evaluator: of the network; its compiled step scores them all.
      variables: of the network.
      split: of `Source.load`.
      seed: of the noise.

    Returns: `{'mean_accuracy': mean over all of them, 'accuracy': {corruption: [by severity, from 1 to 5]}}`.
    """
    accuracy = {}
    for name in CORRUPTIONS:
        corrupted = [CorruptedSplit(split, name, severity, seed) for severity in SEVERITIES]
        accuracy[name] = [evaluator.score(variables, part)['accuracy'] for part in corrupted]
        logging.getLogger(__name__).info('%s: accuracy %.2f %%', name, 100 * np.mean(accuracy[name]))
    return {'mean_accuracy': float(np.mean(list(accuracy.values()))), 'accuracy': accuracy}
