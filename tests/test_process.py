import glob
import io
import logging
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from unittest.mock import Mock

import jax
import pytest

from dsconv import config, process
from dsconv.errors import InputError, Preempted
from tests.commands import refusal

COMMAND = ['/venv/bin/python', '-m', 'dsconv.main', '--config=x.py']


class Restarted(Exception):
    """Raised in place of a restart."""


@pytest.fixture
def machine(monkeypatch):
    """Linux on glibc without an accelerator, where the command has just been started; a restart raises `Restarted`."""
    monkeypatch.setattr(os, 'access', lambda *_: True)  # /home/me below counts as writable
    for name in [*process.ALLOCATOR, *process._compilation_cache(), process.SWITCH, 'LD_PRELOAD', 'JAX_PLATFORMS']:
        monkeypatch.setenv(name, '')  # so that monkeypatch undoes what the code sets
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, 'platform', 'linux')
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('glibc', '2.35'))
    monkeypatch.setattr(sys, 'gettrace', lambda: None)  # a coverage run traces
    monkeypatch.setattr(glob, 'glob', lambda pattern: [])
    monkeypatch.setattr(sys, 'orig_argv', COMMAND)
    monkeypatch.setattr(os, 'execv', Mock(side_effect=Restarted))
    monkeypatch.setattr(signal, 'signal', lambda *_: None)


def test_the_allocator_is_left_alone_when_the_surroundings_say_so(machine, monkeypatch):
    for name in ('DSCONV_ALLOCATOR', 'LD_PRELOAD', 'GLIBC_TUNABLES', 'JAX_PLATFORMS'):
        with monkeypatch.context() as patch:
            patch.setenv(name, 'tpu')
            process.prepare_process()
    for owner, name, value in (
        (sys, 'platform', 'darwin'),
        (platform, 'libc_ver', lambda: ('', '')),
        (sys, 'gettrace', lambda: print),
        (glob, 'glob', lambda pattern: ['/dev/accel0'] if pattern.startswith('/dev/accel') else []),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            process.prepare_process()
    with pytest.raises(Restarted):  # without these settings, the process restarts
        process.prepare_process()


@pytest.mark.parametrize(
    ('words', 'environment', 'directory'),
    [
        (COMMAND, {'HOME': '/home/me', 'DSCONV_ALLOCATOR': 'system'}, '/home/me/.cache/dsconv/here'),
        (COMMAND, {'XDG_CACHE_HOME': '~/.cache', 'DSCONV_ALLOCATOR': 'system'}, None),  # no home directory
        (COMMAND, {'JAX_COMPILATION_CACHE_DIR': '/mine', 'DSCONV_ALLOCATOR': 'system'}, '/mine'),
        (['python', 'notebook.py'], {}, None),
        (['python', '-m', 'pytest', '-m', 'dsconv.main'], {}, None),
        (['python', '/venv/bin/coverage', 'run', '-m', 'dsconv.main'], {}, None),
        (['python', '-m', 'dsconvert.main'], {}, None),
    ],
)
def test_commands_keep_what_they_compile_and_nothing_else_does_or_restarts(
    machine, monkeypatch, words, environment, directory
):
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, 'orig_argv', words)
    monkeypatch.setattr(platform, 'node', lambda: 'here')
    process.prepare_process()
    assert os.environ.get('JAX_COMPILATION_CACHE_DIR') == directory
    monkeypatch.setattr(os, 'access', lambda *_: False)
    assert process._compilation_cache() == {}


def test_libraries_are_quiet_and_ours_is_heard(monkeypatch):
    monkeypatch.setenv('TF_CPP_MIN_LOG_LEVEL', '0')  # set by the user
    process.prepare_process()
    assert os.environ['TF_CPP_MIN_LOG_LEVEL'] == '0'
    assert logging.getLogger('dsconv').isEnabledFor(logging.INFO)
    for library in ('absl', 'PIL.TiffImagePlugin'):
        assert not logging.getLogger(library).isEnabledFor(logging.ERROR)


def test_a_terminal_that_is_not_unicode_gets_every_line(machine, monkeypatch):
    monkeypatch.setenv('DSCONV_ALLOCATOR', 'system')
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(io.BytesIO(), 'ascii'))
    process.prepare_process()
    print('8×8', flush=True)
    assert sys.stdout.buffer.getvalue() == b'8\\xd78\n'


def test_a_closed_stdout_takes_every_line(monkeypatch):
    monkeypatch.setattr(sys, 'stdout', None)
    process.prepare_process()
    sys.stdout.write('a line')
    sys.stdout.close()


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='glibc settings')
def test_a_real_restart_keeps_process_arguments_input_and_exit_code(tmp_path):
    """A sitecustomize prints a line at each start; the config file reads stdin and raises SystemExit."""
    (tmp_path / 'sitecustomize.py').write_text(
        'import os, sys\nprint(os.getpid(), os.environ.get("DSCONV_ALLOCATOR"), sys.flags.dev_mode, file=sys.stderr)'
    )
    (tmp_path / 'ends.py').write_text('import signal\nraise SystemExit(f"{input()} {signal.getsignal(2).__name__}")')
    ours = 'DSCONV', 'JAX', 'XLA', 'LD_PRELOAD', *process.ALLOCATOR
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    line = [sys.executable, '-u', '-X', 'dev', '-Wignore', '-m', 'dsconv.main', '--config=ends.py', '--workdir=a b']
    done = subprocess.run(
        ['sh', '-c', 'trap "" INT; exec "$@"', 'sh', *line],  # SIGINT is ignored, as in a background job of a script
        cwd=tmp_path,
        env=environment | {'PYTHONPATH': f'{config.ROOT}{os.pathsep}{tmp_path}', 'JAX_PLATFORMS': 'cpu'},
        input='from stdin\n',
        capture_output=True,
        text=True,
    )
    first, second, error = done.stderr.splitlines()
    assert (first.split()[1:], second.split()[1:]) == (['None', 'True'], ['tuned', 'True'])
    assert first.split()[0] == second.split()[0]
    assert error.endswith('--config=ends.py cannot be loaded: SystemExit: from stdin default_int_handler (line 2)')
    assert done.returncode == 2


@pytest.fixture
def joined(monkeypatch):
    """The arguments of each call of `jax.distributed.initialize`, which is replaced."""
    calls = []
    monkeypatch.setattr(jax.distributed, 'initialize', lambda *arguments, **patience: calls.append(arguments))
    return calls


def test_connect_joins_the_processes_that_are_named_or_a_cluster(joined):
    process.connect(None, None, None)
    assert joined == []
    process.connect('[::1]:8476', 2, 1)
    process.connect('auto', None, None)
    assert joined == [('[::1]:8476', 2, 1), ()]


def test_connect_refuses_what_would_wait_or_crash(joined, monkeypatch):
    with socket.create_server(('', 0)) as server:
        taken = f'127.0.0.1:{server.getsockname()[1]}'
        for arguments, message in (
            (('auto', 2, 0), '--num-processes and --process-id need --coordinator=HOST:PORT'),
            (('127.0.0.1:65536', 2, 0), '--coordinator=127.0.0.1:65536 must be auto or HOST:PORT'),
            (('a..b:80', 2, 0), '--coordinator=a..b:80: there is no host a..b'),
            (('127.0.0.1:80', 2, 2), '--coordinator=127.0.0.1:80 needs --num-processes=N and --process-id from 0'),
            (('127.0.0.1:80', 2, None), '--coordinator=127.0.0.1:80 needs --num-processes=N and --process-id from 0'),
            ((taken, 2, 0), f'--coordinator={taken}: port {taken[10:]} cannot be used (Address already'),
        ):
            assert refusal(process.connect, *arguments).startswith(message)
        assert joined == []
        process.connect(taken, 2, 1)  # process 0 opens the port
    assert joined == [(taken, 2, 1)]
    error = ValueError('coordinator_address should be defined.')
    monkeypatch.setattr(jax.distributed, 'initialize', Mock(side_effect=error))
    with pytest.raises(InputError, match='^--coordinator=auto: no TPU pod or cluster was recognised; give '):
        process.connect('auto', None, None)


@pytest.mark.parametrize('ending', [KeyboardInterrupt, Preempted])
def test_a_signal_in_a_callback_of_the_garbage_collector_is_not_lost(monkeypatch, ending):
    monkeypatch.setattr(sys, 'unraisablehook', process._on_unraisable)
    # As in a command; a test runner in the background may have been started with SIGINT ignored.
    handlers = {signal.SIGTERM: process._on_sigterm, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}

    class Interrupted:
        def __del__(self):
            raise ending

    try:
        with pytest.raises(ending):
            Interrupted()
            for _ in range(1000):
                time.sleep(0.01)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(
    ('error', 'is_of_peer'),
    [
        (jax.errors.JaxRuntimeError('UNAVAILABLE: Connection reset by peer'), True),
        (jax.errors.JaxRuntimeError('UNKNOWN: Gloo all-reduce failed: [pair.cc:538] Read error'), True),
        (jax.errors.JaxRuntimeError('INTERNAL: a kernel read the file UNAVAILABLE; Gloo'), False),
        (ValueError('UNAVAILABLE: Connection closed'), False),
    ],
)
def test_an_error_of_a_lost_peer_is_told_and_keeps_its_traceback(monkeypatch, capsys, error, is_of_peer):
    left = []
    monkeypatch.setattr(process, 'leave', left.append)
    try:
        raise error
    except Exception as caught:
        process._on_uncaught(type(caught), caught, caught.__traceback__)
    said = capsys.readouterr().err
    assert said.startswith('Traceback') and left == [1]
    last = said.splitlines()[-1]
    assert (
        last.startswith(f'another process of the run has ended ({error})') if is_of_peer else last.endswith(str(error))
    )


def test_libraries_are_never_louder_than_a_command_has_set_them():
    logger = logging.getLogger('absl')
    before = logger.level
    try:
        for level, inside in ((logging.CRITICAL, logging.CRITICAL), (logging.INFO, logging.ERROR)):
            logger.setLevel(level)
            with process.without_absl_warnings():
                assert logger.level == inside
            assert logger.level == level
    finally:
        logger.setLevel(before)


def test_a_cpu_that_is_asked_for_beside_an_accelerator_gets_the_allocator(machine, monkeypatch):
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    monkeypatch.setattr(glob, 'glob', lambda pattern: ['/dev/nvidia0'])
    with pytest.raises(Restarted):
        process.prepare_process()
