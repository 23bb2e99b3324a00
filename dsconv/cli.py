"""Code that all commands share: flags, exit codes, one-line error messages."""

import argparse
import errno
import itertools
import math
import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from dsconv.errors import InputError, Preempted, RunError, did_you_mean, log_traceback, on_one_line
from dsconv.files import describe, is_store_fault, to_path
from dsconv.process import PREEMPTED, leave, prepare_process

CONFIG_FLAG, PLACE_FLAG = '--config.', '--config.dataset.KEY'
OWN_PACKAGES = ('dsconv', 'configs', 'benchmarks')
UNUSABLE_PATH = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
UNUSABLE_CODES = (errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)  # path errors that have no exception class
# Errors that are reported even if they name no file. EPIPE: the reader of stdout, such as `head`, has exited.
NAMELESS_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE, errno.EPIPE)


class Parser(argparse.ArgumentParser):
    """Parses flags, which cannot be abbreviated. An error message is one line and names the nearest flag."""

    def parse_args(self, line):
        flags = [word.split('=')[0] for word in itertools.takewhile('--'.__ne__, line) if word.startswith('--')]
        # An unknown flag is reported before a missing flag, since it may be a misspelling of the missing flag.
        unknown = [flag for flag in flags if flag not in self._option_string_actions]
        if not unknown:
            arguments, unknown = self.parse_known_args(line)
        if unknown:
            self._refuse(unknown[0])
        return arguments

    def _refuse(self, word):
        """Ends the process; the message names the unknown word, and the config keys or the flag that may be meant."""
        name, keys = word.split('=')[0], []
        flags = [flag for flag in self._option_string_actions if flag.startswith('--')]
        if PLACE_FLAG in flags:
            keys = [f'{CONFIG_FLAG}dataset.{key}' for key in ('data_dir', 'archive')]
        elif '--config' in flags:
            from dsconv import config
            from dsconv.studies.study import GIVEN_BY_THE_STUDY

            given = GIVEN_BY_THE_STUDY if '--seeds' in flags else ()  # a study refuses these keys
            keys = [CONFIG_FLAG + key for key in config.flatten(config.defaults()) if key not in given]
        keys = [key for key in keys if key.rpartition('.')[2] == name.removeprefix('--')]
        hint = f'; did you mean {" or ".join(keys)}?' if keys else did_you_mean(name, flags)
        self.error(f'unrecognized argument {word}{hint or "; --help lists all of them"}')

    def exit(self, status=0, message=None):
        try:
            sys.stdout.flush()  # so that the message follows the printed output
        except OSError:  # Python would report the error again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if message:
            self._print_message(message, sys.stderr)
        leave(status)

    def error(self, message, code: int = 2):
        """Ends the process with one line on stderr."""
        self.exit(code, f'{self.prog}: error: {on_one_line(str(message).strip())}\n')


def parser(command: str, description: str) -> Parser:
    """Returns the parser of `python -m dsconv.<command>`."""
    return Parser(prog=f'python -m dsconv.{command}', description=description, allow_abbrev=False)


def add_config_flag(flags: Parser) -> None:
    """Adds `--config=FILE`, which is required, and `--config.KEY=VALUE`, for --help alone: `run` parses overrides."""
    text = 'config file, e.g. configs/small.py; FILE.py:ARG if get_config takes an argument; or config.json of a run'
    flags.add_argument('--config', required=True, metavar='FILE', help=text)
    text = 'overrides a key of the config, e.g. --config.model.dim=64; configs/common.py lists them all'
    flags.add_argument('--config.KEY', metavar='VALUE', default=argparse.SUPPRESS, help=text)


def add_place_flag(flags: Parser, text: str) -> None:
    """Adds `--config.dataset.KEY=VALUE`, which sets the location of the data, to a command without a config file."""
    flags.add_argument(PLACE_FLAG, metavar='VALUE', default=argparse.SUPPRESS, help=text)
    flags.set_defaults(config=None, overrides=[])  # `run` accepts overrides if there is a `config`


def add_checkpoint_flag(flags: Parser) -> None:
    """Adds `--checkpoint`."""
    text = 'default: the best by validation accuracy if the run has a validation split, otherwise the latest'
    flags.add_argument('--checkpoint', metavar='latest|best|STEP', help=text)


def add_network_flags(flags: Parser) -> None:
    """Adds `--workdir` and `--model`, exactly one of which is required, `--checkpoint` and `--tta`."""
    which = flags.add_mutually_exclusive_group(required=True)
    which.add_argument('--workdir', type=path, metavar='DIR', help='workdir of the run, or a published network')
    which.add_argument('--model', type=path, metavar='FILE', help='.tflite or .onnx, as dsconv.export writes them')
    add_checkpoint_flag(flags)
    text = (
        'test-time augmentation: averages the logits of an image, of its shifts by a pixel and, if training flips, of '
        'their mirror images'
    )
    flags.add_argument('--tta', action='store_true', help=text)


def add_study_flags(flags: Parser, output: str) -> None:
    """Adds the flags of a study; `output` is the default of `--output`, for --help."""
    add_config_flag(flags)
    flags.add_argument('--seeds', type=seeds, help='seeds, e.g. 0,1 (default: 0,1,2; with --folds=N: 0 to N-1)')
    text = 'cross-validation: divides the training images into N folds; seed s is validated on fold s modulo N, plus 1'
    flags.add_argument('--folds', type=number(2), metavar='N', help=text)
    text = 'trains only shard I of N of the runs, e.g. 2/4'
    flags.add_argument('--shard', type=shard, default=(1, 1), metavar='I/N', help=text)
    text = f'directory for the runs, study.json, .md and .png; runs in it are resumed (default: {output})'
    flags.add_argument('--output', type=path, metavar='DIR', help=text)
    flags.add_argument('--dry-run', action='store_true', help='prints the command of each run and trains nothing')


def text(word: str) -> str:
    """Converts the value of a flag that is any non-empty text."""
    if not word:
        raise ArgumentTypeError('must not be empty')
    return word


def path(word: str) -> Path:
    """Converts the value of a flag that is a path of a file or directory; expands `~` and accepts `gs://…`."""
    try:
        return to_path(text(word))
    except InputError as error:
        raise ArgumentTypeError(error) from error


def number(low: float, high: float | None = None) -> Callable[[str], float]:
    """Returns a converter of numbers from `low` to `high`, or of whole numbers from `low` if `high` is None."""
    kind, what = (int, f'whole number from {low}') if high is None else (float, f'number from {low} to {high}')

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= (math.inf if high is None else high):
            raise ArgumentTypeError(f'{text!r} must be a {what}')
        return value

    return convert


positive, probability = number(1), number(0, 1)


def some_of(flag: str, known, text: str) -> tuple[str, ...]:
    """Parses a comma-separated flag; returns its names in the order of `known`. Raises InputError for other names."""
    names = text.split(',')
    for name in names:
        if name not in known:
            raise InputError(f'{flag}: {name!r} is not one of {", ".join(known)}{did_you_mean(name, known)}')
    return tuple(name for name in known if name in names)


def seeds(text: str) -> tuple[int, ...]:
    """Converts `--seeds`: distinct whole numbers below 2³²."""
    if not all(part.isdecimal() and int(part) < 2**32 for part in text.split(',')):
        raise ArgumentTypeError(f'{text!r} must be whole numbers below 2³², e.g. 0,1')
    numbers = tuple(map(int, text.split(',')))
    if len(set(numbers)) < len(numbers):
        raise ArgumentTypeError(f'{text!r} has a seed twice')
    return numbers


def shard(text: str) -> tuple[int, int]:
    """Converts `--shard`: i/n, from 1/n to n/n, to (i, n)."""
    index, _, count = text.partition('/')
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise ArgumentTypeError(f'{text!r} must be i/n, from 1/n to n/n, e.g. 2/4')
    return int(index), int(count)


def run(flags: Parser, command: Callable, arguments: list[str] | None = None) -> None:
    """Parses the command line, runs `command(arguments)` and ends the process if that fails.

    `--config.key=value` flags arrive as `arguments.overrides`, a list of `'key=value'`. Exit codes: 0 done, 2 wrong
    input or an unusable path, 1 a run or an object store that failed, 75 preempted, 130 interrupted.
    """
    try:
        prepare_process()
        overrides, line = take_overrides(sys.argv[1:] if arguments is None else arguments)
        arguments = flags.parse_args(line)
        if overrides and not hasattr(arguments, 'config'):
            flags.error(f'there is no flag {CONFIG_FLAG}{overrides[0]}: this command takes no config')
        arguments.overrides = overrides
        command(arguments)
        sys.stdout.flush()
    except Preempted as leaving:
        flags.exit(PREEMPTED, f'{flags.prog}: {leaving}; run the same command again to resume\n')
    except KeyboardInterrupt:
        flags.exit(130, f'{flags.prog}: interrupted\n')
    except Exception as error:
        verdict = _verdict(error)
        if verdict is None:
            raise
        flags.error(*verdict)


def _verdict(error):
    """Returns (message, exit code) for an error that the user can fix, None for a bug in dsconv."""
    log_traceback(error)
    if isinstance(error, (InputError, RunError)):
        return error, 2 if isinstance(error, InputError) else 1
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition('.')[0] not in OWN_PACKAGES:
        return f'{error.name} is not installed: activate the environment, or pip install -r requirements.txt', 2
    if isinstance(error, OSError) and (error.filename is not None or error.errno in NAMELESS_CODES):
        where = f'{error.filename}: ' if error.filename else ''
        is_input = isinstance(error, UNUSABLE_PATH) or error.errno in UNUSABLE_CODES
        return f'{where}{error.strerror}', 2 if is_input else 1
    if isinstance(error, RuntimeError) and str(error).startswith('Unable to initialize backend '):  # from JAX
        platforms = os.environ.get('JAX_PLATFORMS')
        return (f'JAX_PLATFORMS={platforms}: {describe(error)}', 2) if platforms else (describe(error), 1)
    if isinstance(error, ValueError) and str(error).startswith(('invalid truth value ', 'Invalid value "')):  # from JAX
        return error, 2
    return (f'the object store failed: {describe(error)}', 1) if is_store_fault(error) else None


def take_overrides(line: list[str]) -> tuple[list[str], list[str]]:
    """Splits the arguments into overrides, `--config.key=value` or `--config.key value` → `key=value`, and the others.

    Words after `--` are not overrides.
    """
    words, end = [], line.index('--') if '--' in line else len(line)
    for word in line[:end]:
        lacks_value = bool(words) and words[-1].startswith(CONFIG_FLAG) and '=' not in words[-1]
        if lacks_value and not word.startswith('--'):  # -3 is a value
            words[-1] += f'={word}'
        else:
            words.append(word)
    overrides = [word.removeprefix(CONFIG_FLAG) for word in words if word.startswith(CONFIG_FLAG)]
    return overrides, [word for word in words if not word.startswith(CONFIG_FLAG)] + line[end:]
