"""Exceptions that end a command, which `dsconv.cli` turns into one line and an exit code; helpers for messages."""

import contextlib
import difflib
import importlib.util
import logging
import re
from collections.abc import Iterator

# The canonical status codes of Abseil, in numerical order, which XLA, TensorStore and TensorFlow report.
STATUS_CODES = (
    'OK', 'CANCELLED', 'UNKNOWN', 'INVALID_ARGUMENT', 'DEADLINE_EXCEEDED', 'NOT_FOUND', 'ALREADY_EXISTS',
    'PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION', 'ABORTED', 'OUT_OF_RANGE', 'UNIMPLEMENTED',
    'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS', 'UNAUTHENTICATED',
)  # fmt: skip


class InputError(Exception):
    """The user's input is wrong; exit code 2. The message is one line that says what is wrong and what to do."""


class RunError(Exception):
    """A run with valid input failed (diverged, disk full); exit code 1. The last good checkpoint is kept."""


class Preempted(BaseException):
    """The process was told to stop, and a run in training was saved; exit code 75. Not caught by `except Exception`."""


@contextlib.contextmanager
def beginning_with(text: str) -> Iterator[None]:
    """Puts `text` before the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f'{text}{error}') from error


def require_tensorflow(what: str, instead: str = '') -> None:
    """Raises InputError if TensorFlow, which `what` needs, is not installed; the message ends with `instead`."""
    if importlib.util.find_spec('tensorflow') is None:
        raise InputError(f'{what} needs TensorFlow, which is not installed: pip install -r requirements.txt{instead}')


def status_of(error: BaseException) -> str | None:
    """Returns the status code of an error of TensorFlow, XLA or TensorStore, or None for any other error.

    TensorFlow has a type for each code. XLA and TensorStore have one type for all; their messages begin with the code.
    A host name that cannot be resolved counts as UNAVAILABLE, although TensorFlow reports FAILED_PRECONDITION.
    """
    if type(error).__module__.startswith('tensorflow.'):
        if 'libcurl code 6 ' in str(error):  # CURLE_COULDNT_RESOLVE_HOST
            return 'UNAVAILABLE'
        code = getattr(error, 'error_code', None)
        return STATUS_CODES[code] if code in range(len(STATUS_CODES)) else None
    word, colon, _ = str(error).partition(':')
    return word if colon and word in STATUS_CODES else None


def with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yields an error, then the errors that caused it or were being handled when it was raised, back to the first."""
    seen = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def nearest(name, names, cutoff: float = 0.5) -> str | None:
    """Returns the nearest of `names` by `difflib.get_close_matches`, ignoring case, or None if none is near."""
    known = {str(name).lower(): str(name) for name in names if name is not None}
    close = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=cutoff)
    return known[close[0]] if close else None


def did_you_mean(name, names) -> str:
    """Returns `'; did you mean NEAREST?'` for the nearest of `names`, or `''` if none is near."""
    close = nearest(name, names)
    return '' if close is None else f'; did you mean {close}?'


def log_traceback(error: BaseException) -> None:
    """Logs the traceback of an error whose message is a single line; shown with `DSCONV_LOG=DEBUG`."""
    logging.getLogger('dsconv').debug('this is the traceback of the error below', exc_info=error)


def as_typed(value) -> str:
    """Returns a config's value as the user types it."""
    if isinstance(value, (tuple, list)):
        return ','.join(map(as_typed, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def shown(value) -> str:
    """Returns a config's value as the user types it, on one line of at most 100 characters."""
    text = as_typed(value)
    if not text or not text.isprintable() or isinstance(value, (tuple, list)) and '' in value:
        text = repr(value)
    return text if len(text) <= 100 else f'{text[:99]}…'


def on_one_line(text: str) -> str:
    """Replaces control characters, including line breaks, by spaces, and escapes characters that are not UTF-8."""
    return re.sub(r'[\x00-\x1f\x7f-\x9f\u2028\u2029]+', ' ', text).encode(errors='backslashreplace').decode()
