"""Stands for a library: what `benchmarks.process` starts in the tests. Its variant says how it behaves."""

import os
import sys

import numpy as np


def prepare(settings):
    variant = settings.get('variant')
    if variant == 'missing':
        import a_library_that_is_not_installed  # noqa: F401
    if variant == 'broken':
        sys.exit('no\nroom')
    if variant == 'killed':
        os.kill(os.getpid(), 9)
    calls = []

    def train():
        print('a library that talks')
        calls.append('train')
        if variant == 'dies':
            sys.exit('out of memory')
        return len(calls)

    def inference():
        calls.append('inference')
        return np.full((64, 10), np.nan if variant == 'nan' else len(calls), np.float32)

    return {'parameters': 7, 'train': train, 'inference': inference}
