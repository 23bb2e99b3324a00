"""Stands for a library: what `dsconv.performance.worker` starts in the tests. Its variant says how it behaves."""

import sys


def prepare(settings):
    if settings['variant'] == 'missing':
        import a_library_that_is_not_installed  # noqa: F401
    if settings['variant'] == 'broken':
        raise ValueError('no\nsuch thing')
    calls = []

    def run():
        calls.append(1)
        print('a library that talks')
        if settings['variant'] == 'dies' and len(calls) > 2:
            sys.exit('out of memory')

    return run
