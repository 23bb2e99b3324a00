"""Stands for a library: what `dsconv.performance.contender` starts in the tests. Its variant says how it behaves."""

import os
import sys

import numpy as np


def prepare(settings):
    if settings['variant'] == 'missing':
        import a_library_that_is_not_installed  # noqa: F401
    if settings['variant'] == 'dies':
        sys.exit('no\nroom')
    if settings['variant'] == 'killed':
        os.kill(os.getpid(), 9)
    calls = []

    def train():
        print('a library that talks')
        calls.append('train')
        return len(calls)

    def inference():
        calls.append('inference')
        return np.full((64, 10), np.nan if settings['variant'] == 'nan' else len(calls), np.float32)

    return {'parameters': 7, 'train': train, 'inference': inference}
