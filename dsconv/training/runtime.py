"""What a process needs before it computes: memory allocator, quiet libraries, its peers.

`prepare_process` is for commands only; a notebook that imports dsconv is left as it is.
"""

import glob
import logging
import os
import platform
import re
import signal
import socket
import sys
import threading
import traceback

from dsconv.errors import InputError, Preempted

PREEMPTED = 75  # exit code: the same command goes on
SWITCH = 'DSCONV_ALLOCATOR'
PATIENCE = 30  # seconds without a sign of life after which a process of the run counts as lost
# glibc returns every step's buffers to the kernel and faults them in again, page by page: with these Small at batch 256
# on two cores trains 1.5 times as fast (results/allocator.json). They are read when a process starts: it starts anew.
ALLOCATOR = {
    'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
    'MALLOC_TOP_PAD_': '1000000000',
    'MALLOC_TRIM_THRESHOLD_': '100000000000',
    'MALLOC_MMAP_THRESHOLD_': '100000000000',
}


def prepare_process() -> None:
    """Quiets the libraries, keeps what is compiled, and on Linux without an accelerator starts anew with `ALLOCATOR`.

    Compiled programs are kept in `~/.cache/dsconv`, or where `JAX_COMPILATION_CACHE_DIR` says, so that a second start
    need not compile; `JAX_ENABLE_COMPILATION_CACHE=false` turns that off.

    The restart keeps the process id, arguments and file descriptors, and happens before anything heavy is imported.
    It is for `python -m dsconv.COMMAND` alone: a test runner, a notebook, a debugger or a profiler that calls a
    command goes on as it is. `DSCONV_ALLOCATOR=system` leaves the allocator alone; so do allocator settings or an
    LD_PRELOAD of one's own, and a C library other than glibc.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')  # concerns layers, which are JAX's here, and is announced
    os.environ.setdefault('GRPC_VERBOSITY', 'ERROR')
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    logging.getLogger('dsconv').setLevel(logging.INFO)
    logging.getLogger('absl').setLevel(
        logging.CRITICAL
    )  # Orbax and TFDS tell of their inner life, and log what they raise
    logging.getLogger('asyncio').setLevel(logging.CRITICAL)  # Orbax leaves futures of a damaged checkpoint behind
    sys.unraisablehook = _on_unraisable
    if not _is_command():
        return
    for name, value in _compilation_cache().items():
        os.environ.setdefault(name, value)
    if _wants_allocator():
        os.environ.update(ALLOCATOR | {SWITCH: 'tuned'})
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    signal.signal(signal.SIGTERM, _on_sigterm)


def _compilation_cache() -> dict[str, str]:
    """Environment variables of JAX: a directory for each machine, since a program is compiled for its processor."""
    caches = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    directory = os.path.join(caches, 'dsconv', platform.node())
    return {'JAX_COMPILATION_CACHE_DIR': directory, 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '1'}


def _on_unraisable(unraisable) -> None:
    """What Python would report and forget, as of a callback of the garbage collector: JAX has one.

    A Ctrl-C or SIGTERM in it is sent again, once the callback is over. What Orbax began to do with a damaged
    checkpoint, before it gave up, says nothing.
    """
    frames = list(traceback.walk_tb(unraisable.exc_traceback))
    is_of_orbax = bool(frames) and 'orbax' in frames[-1][0].f_code.co_filename
    lost = {KeyboardInterrupt: signal.SIGINT, Preempted: signal.SIGTERM}.get(unraisable.exc_type)
    if lost:
        threading.Timer(0.05, os.kill, (os.getpid(), lost)).start()
    elif str(unraisable.exc_value) != 'Event loop is closed' and not is_of_orbax:
        sys.__unraisablehook__(unraisable)


def _on_sigterm(*_):
    """Wherever nothing is to be saved first; a run has a handler of its own (`stopping.StopRequest`)."""
    raise Preempted('told to leave')


def _is_command() -> bool:
    """Whether Python was started as `python [its own options] -m dsconv.COMMAND`, with no other program between."""
    by_python = re.match(r'(-[XW] ?\S+ |-\w+ )*-\w*m ?dsconv\.', ' '.join(sys.orig_argv[1:]))
    return by_python is not None and sys.gettrace() is None


def _wants_allocator() -> bool:
    chosen_by_person = any(name in os.environ for name in (SWITCH, 'LD_PRELOAD', *ALLOCATOR))
    on_glibc = sys.platform == 'linux' and platform.libc_ver()[0] == 'glibc'
    return on_glibc and not chosen_by_person and not _has_accelerator()


def _has_accelerator() -> bool:
    """Whether JAX will find a TPU or GPU, told without importing it."""
    if os.environ.get('JAX_PLATFORMS'):
        return os.environ['JAX_PLATFORMS'] != 'cpu'
    return any(glob.glob(pattern) for pattern in ('/dev/accel*', '/dev/vfio/[0-9]*', '/dev/nvidia[0-9]*', '/dev/kfd'))


def connect(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Joins the processes of one run.

    Args:
      coordinator: None for a run of one process; 'auto' on a TPU pod slice or under SLURM, where the surroundings tell
        the rest; else `HOST:PORT` of process 0.
      num_processes: how many processes there are; with `HOST:PORT` only.
      process_id: which of them this is, from 0; with `HOST:PORT` only.

    Raises:
      InputError: these do not go together, there is no such host, its port is taken, or 'auto' finds nothing to go by.
    """
    if coordinator in (None, 'auto'):
        if num_processes is not None or process_id is not None:
            raise InputError('--num-processes and --process-id go with --coordinator=HOST:PORT')
    else:
        _check_address(coordinator)
        if num_processes is None or process_id is None or not 0 <= process_id < num_processes:
            raise InputError(f'--coordinator={coordinator} needs --num-processes=N and --process-id from 0 to N-1')
        if process_id == 0:
            _check_port(coordinator)
    if coordinator is None:
        return
    import jax

    jax.config.update('jax_enable_preemption_service', False)  # it takes SIGTERM for itself; see stopping.StopRequest
    if coordinator != 'auto':
        jax.distributed.initialize(coordinator, num_processes, process_id, heartbeat_timeout_seconds=PATIENCE)
    else:
        try:
            jax.distributed.initialize(heartbeat_timeout_seconds=PATIENCE)
        except ValueError as error:
            raise InputError(
                '--coordinator=auto: no TPU pod or cluster was recognised; give --coordinator=HOST:PORT '
                '--num-processes=N --process-id=I'
            ) from error
    sys.excepthook = _on_uncaught
    if jax.process_index():
        logging.getLogger('dsconv').setLevel(logging.WARNING)  # progress is told once, by process 0


def leave(code: int):
    """Ends the process. One that fails does not wait for its peers, which may wait for it in a computation."""
    has_peers = 'jax' in sys.modules and sys.modules['jax'].distributed.is_initialized()
    if has_peers and code not in (0, PREEMPTED):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _on_uncaught(kind, error, trace) -> None:
    if re.search('Gloo|UNAVAILABLE|heartbeat|Connection closed', str(error)):
        print(
            f'another process of the run is gone ({str(error).splitlines()[0]}): start all of them again, and they go '
            f'on from the last checkpoint',
            file=sys.stderr,
        )
    else:
        sys.__excepthook__(kind, error, trace)
    leave(1)


def _check_address(coordinator):
    host, _, port = coordinator.rpartition(':')
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise InputError(f'--coordinator={coordinator} must be auto or HOST:PORT, as 127.0.0.1:8476')
    try:
        socket.getaddrinfo(host.strip('[]'), int(port))
    except (OSError, UnicodeError) as error:  # JAX would wait for five minutes, then abort the process
        raise InputError(f'--coordinator={coordinator}: there is no host {host} ({error})') from error


def _check_port(coordinator):
    port = coordinator.rpartition(':')[2]
    try:
        socket.create_server(('', int(port))).close()
    except OSError as error:  # gRPC would crash the process
        raise InputError(f'--coordinator={coordinator}: port {port} cannot be used ({error.strerror})') from error
