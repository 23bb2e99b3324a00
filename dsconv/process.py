"""Sets up the process: memory allocator, log levels of libraries, signals, and the other processes of a run."""

import contextlib
import glob
import logging
import os
import platform
import re
import shlex
import signal
import socket
import sys
import threading
import traceback
from importlib import metadata
from pathlib import Path

from dsconv.errors import InputError, Preempted, status_of

PREEMPTED = 75  # exit code: the same command resumes
SWITCH = 'DSCONV_ALLOCATOR'
PATIENCE = 30  # seconds without a heartbeat after which a process of the run counts as lost
# glibc returns the buffers of each step to the kernel, then faults them in page by page. With these settings, read at
# process start, Small at batch 256 on two cores trains 1.5 times as fast (results/allocator.json).
ALLOCATOR = {
    'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
    'MALLOC_TOP_PAD_': '1000000000',
    'MALLOC_TRIM_THRESHOLD_': '100000000000',
    'MALLOC_MMAP_THRESHOLD_': '100000000000',
}


def prepare_process() -> None:
    """Quiets libraries, caches compiled programs, and on Linux without an accelerator restarts with `ALLOCATOR`.

    Cache, restart and signal handlers are for `python -m dsconv.COMMAND` (and `benchmarks`) alone, not for a test
    runner, a notebook or a debugger. The cache is in `~/.cache/dsconv`, or in `JAX_COMPILATION_CACHE_DIR` if set;
    `JAX_ENABLE_COMPILATION_CACHE=false` turns it off, and so do several processes (`connect`). The restart keeps the
    process id, arguments and file descriptors, and comes before heavy imports. There is no restart with
    `DSCONV_ALLOCATOR=system`, with the user's allocator settings or LD_PRELOAD, or with a C library other than glibc.

    SIGTERM raises `Preempted` and SIGINT KeyboardInterrupt, even if SIGINT was ignored, as in a background job of a
    script. `DSCONV_LOG=DEBUG` shows the traceback of each one-line error. Raises InputError for an unknown log level.
    """
    if not hasattr(logging, 'getLevelNamesMapping'):
        found = platform.python_version()
        raise InputError(f'this is Python {found}, dsconv needs 3.11, 3.12 or 3.13: activate the environment')
    if sys.stdout is None:  # the shell closed it by `>&-`
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), 'w')
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')  # unused, since JAX runs the layers; TensorFlow would log it
    os.environ.setdefault('GRPC_VERBOSITY', 'ERROR')
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    if (level := os.environ.get('DSCONV_LOG', '').upper() or 'INFO') not in logging.getLevelNamesMapping():
        raise InputError(f'DSCONV_LOG={level} must be DEBUG, INFO, WARNING or ERROR')
    logging.getLogger('dsconv').setLevel(level)
    # Orbax, TFDS and Pillow log the errors that they raise. Orbax leaves failed futures after a damaged checkpoint.
    for library in ('absl', 'asyncio', 'PIL'):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    sys.unraisablehook = _on_unraisable
    if not _is_command():
        return
    for name, value in _compilation_cache().items():
        os.environ.setdefault(name, value)
    if _wants_allocator():
        os.environ.update(ALLOCATOR | {SWITCH: 'tuned'})
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    sys.stdout.reconfigure(errors='backslashreplace')  # as stderr does; for × and paths
    signal.signal(signal.SIGTERM, _on_sigterm)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def without_absl_warnings():
    """Silences warnings that libraries log through absl and that do not concern the user."""
    logger = logging.getLogger('absl')
    level = logger.level
    logger.setLevel(max(level, logging.ERROR))
    try:
        yield
    finally:
        logger.setLevel(level)


def command_line() -> str:
    """Returns the command line of this process."""
    return shlex.join(['python', *sys.orig_argv[1:]])


def versions(packages) -> dict[str, str]:
    """Returns name → version, for Python and for each of `packages` that is installed."""
    found = {'python': platform.python_version()}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _compilation_cache() -> dict[str, str]:
    """Returns the environment variables of JAX's cache: one directory per machine, as programs are processor-specific.

    Returns no variables if the directory is not writable, as in a container whose user has no home directory.
    """
    caches = Path(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'))
    directory = caches / 'dsconv' / platform.node()
    there = next(filter(os.path.exists, (directory, *directory.parents)))
    if not caches.is_absolute() or not os.access(there, os.W_OK | os.X_OK):
        return {}
    return {'JAX_COMPILATION_CACHE_DIR': str(directory), 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '1'}


def _on_unraisable(unraisable) -> None:
    """Handles exceptions that Python cannot propagate, such as those in JAX's garbage-collector callback.

    Sends SIGINT or SIGTERM again if the callback swallowed it. Ignores errors left by Orbax after a damaged checkpoint.
    """
    frames = list(traceback.walk_tb(unraisable.exc_traceback))
    is_of_orbax = bool(frames) and 'orbax' in frames[-1][0].f_code.co_filename
    lost = {KeyboardInterrupt: signal.SIGINT, Preempted: signal.SIGTERM}.get(unraisable.exc_type)
    if lost:
        threading.Timer(0.05, os.kill, (os.getpid(), lost)).start()
    elif str(unraisable.exc_value) != 'Event loop is closed' and not is_of_orbax:
        sys.__unraisablehook__(unraisable)


def _on_sigterm(*_):
    """Raises Preempted. A training loop, which must save its state, has its own handler (`stopping.StopRequest`)."""
    raise Preempted('stopped by SIGTERM')


def _is_command() -> bool:
    """Returns whether Python was started as `python [options] -m dsconv.…` or `benchmarks.…`, without a debugger."""
    by_python = re.match(r'(-[XW] ?\S+ |-\w+ )*-\w*m ?(dsconv|benchmarks)\.', ' '.join(sys.orig_argv[1:]))
    return by_python is not None and sys.gettrace() is None


def _wants_allocator() -> bool:
    chosen_by_person = any(name in os.environ for name in (SWITCH, 'LD_PRELOAD', *ALLOCATOR))
    on_glibc = sys.platform == 'linux' and platform.libc_ver()[0] == 'glibc'
    patterns = ('/dev/accel*', '/dev/vfio/[0-9]*', '/dev/nvidia[0-9]*', '/dev/kfd')  # devices that JAX would find
    platforms = os.environ.get('JAX_PLATFORMS')
    has_accelerator = platforms != 'cpu' if platforms else any(glob.glob(pattern) for pattern in patterns)
    return on_glibc and not chosen_by_person and not has_accelerator


def connect(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Connects the processes of one run; raises InputError if the host is unknown, or if its port is in use.

    Args:
      coordinator: None for one process; 'auto' on a TPU pod slice or under SLURM; else `HOST:PORT` of process 0.
      num_processes, process_id: the number of processes and the index of this one, from 0; only with `HOST:PORT`.
    """
    address = () if coordinator in (None, 'auto') else (coordinator, num_processes, process_id)
    if address:
        _check_address(coordinator, is_own=process_id == 0)
        if num_processes is None or process_id is None or not 0 <= process_id < num_processes:
            raise InputError(f'--coordinator={coordinator} needs --num-processes=N and --process-id from 0 to N-1')
    elif num_processes is not None or process_id is not None:
        raise InputError('--num-processes and --process-id need --coordinator=HOST:PORT')
    if coordinator is None:
        return
    import jax

    jax.config.update('jax_enable_preemption_service', False)  # it would handle SIGTERM; see stopping.StopRequest
    try:
        jax.distributed.initialize(*address, heartbeat_timeout_seconds=PATIENCE)
    except ValueError as error:
        if address:
            raise
        raise InputError(
            '--coordinator=auto: no TPU pod or cluster was recognised; give --coordinator=HOST:PORT '
            '--num-processes=N --process-id=I'
        ) from error
    sys.excepthook = _on_uncaught
    is_own_cache = os.environ.get('JAX_COMPILATION_CACHE_DIR') == _compilation_cache().get('JAX_COMPILATION_CACHE_DIR')
    if jax.process_count() > 1 and is_own_cache:
        # Only process 0 writes to the cache. With a cache on each machine, the other processes would compile anyway
        # after a restart, and on GPUs would wait for autotuning results, which process 0 then does not send.
        jax.config.update('jax_enable_compilation_cache', False)
    logger = logging.getLogger('dsconv')
    if jax.process_index() and not logger.isEnabledFor(logging.DEBUG):  # with DEBUG, all processes log
        logger.setLevel(logging.WARNING)  # only process 0 logs the progress


def leave(code: int):
    """Ends the process. A process that fails does not wait for its peers: they may wait for it in a computation."""
    has_peers = 'jax' in sys.modules and sys.modules['jax'].distributed.is_initialized()
    if has_peers and code not in (0, PREEMPTED):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _on_uncaught(kind, error, trace) -> None:
    import jax

    sys.__excepthook__(kind, error, trace)
    # XLA has one type for all its errors; the status code at the start of the message tells them apart. Gloo, the
    # transport between CPUs, has no code of its own.
    gloo = re.match(r'(UNKNOWN|INTERNAL|FAILED_PRECONDITION): (Error dispatching computation: )?Gloo ', str(error))
    is_lost = gloo or status_of(error) in ('ABORTED', 'CANCELLED', 'DEADLINE_EXCEEDED', 'UNAVAILABLE')
    if is_lost and isinstance(error, jax.errors.JaxRuntimeError):
        print(
            f'another process of the run has ended ({" ".join(str(error).split())}): start all of them again, and '
            f'they resume from the last checkpoint',
            file=sys.stderr,
        )
    leave(1)


def _check_address(coordinator, is_own):
    """Raises InputError if the host is unknown, or if this process is to open the port and the port is in use."""
    host, _, port = coordinator.rpartition(':')
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise InputError(f'--coordinator={coordinator} must be auto or HOST:PORT, e.g. 127.0.0.1:8476')
    try:
        socket.getaddrinfo(host.strip('[]'), int(port))
    except (OSError, UnicodeError) as error:  # JAX would wait for five minutes, then abort the process
        raise InputError(f'--coordinator={coordinator}: there is no host {host} ({error})') from error
    try:
        if is_own:
            socket.create_server(('', int(port))).close()
    except OSError as error:  # gRPC would crash the process
        raise InputError(
            f'--coordinator={coordinator}: port {port} cannot be used ({error.strerror}): give another'
        ) from error
