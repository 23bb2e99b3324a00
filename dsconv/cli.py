"""What the commands share: flags, exit codes, one line for an error."""

import argparse
import errno
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

from dsconv.errors import InputError, Preempted, RunError, did_you_mean
from dsconv.files import is_store_fault, to_path
from dsconv.training.runtime import PREEMPTED, leave, prepare_process

CONFIG_FLAG = '--config.'
UNUSABLE_PATH = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
UNUSABLE_CODES = (errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)  # of paths too, without a class of their own
DISK_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE)  # said of open files, without a name


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and name the nearest flag."""

    def parse_args(self, line):
        flags = [word.split('=')[0] for word in itertools.takewhile('--'.__ne__, line) if word.startswith('--')]
        self._refuse(flag for flag in flags if flag not in self._option_string_actions)  # else what is missing is said
        arguments, unknown = self.parse_known_args(line)
        self._refuse(unknown)
        return arguments

    def _refuse(self, words):
        for word in words:
            name = word.split('=')[0]
            flags = [flag for flag in self._option_string_actions if flag.startswith('--')]
            hint = self._keys_called(name.removeprefix('--')) or did_you_mean(name, flags)
            self.error(f'unrecognized argument {word}{hint or "; --help lists what there is"}')

    def _keys_called(self, name):
        """A hint at the config's keys of that name, as --config.optimizer.b1 at b1."""
        if '--config' not in self._option_string_actions:
            return ''
        from dsconv import config

        keys = [f'{CONFIG_FLAG}{key}' for key in config.flatten(config.defaults()) if key.split('.')[-1] == name]
        return f'; did you mean {" or ".join(keys)}?' if keys else ''

    def error(self, message):
        self.fail(message, 2)

    def exit(self, status=0, message=None):
        if message:
            self._print_message(message, sys.stderr)
        leave(status)

    def fail(self, message, code: int):
        """Ends the process with one line on stderr."""
        self.exit(code, f'{self.prog}: error: {" ".join(str(message).splitlines())}\n')


def parser(command: str, description: str) -> Parser:
    """The parser of `python -m dsconv.<command>`; flags cannot be abbreviated."""
    return Parser(prog=f'python -m dsconv.{command}', description=description, allow_abbrev=False)


def add_config_flag(flags: Parser) -> None:
    """Adds `--config=FILE`, which is needed, and `--config.key=value`."""
    flags.add_argument(
        '--config',
        required=True,
        metavar='FILE',
        help='a config file, as configs/small.py, or the config.json of a run',
    )
    flags.add_argument(
        '--config.KEY',
        metavar='VALUE',
        default=argparse.SUPPRESS,  # for --help alone: `run` takes these flags before they are parsed
        help='overrides a key of the config, as --config.model.dim=64; configs/common.py lists them all',
    )


def add_checkpoint_flag(flags: Parser) -> None:
    """Adds `--checkpoint`."""
    flags.add_argument(
        '--checkpoint',
        metavar='latest|best|STEP',
        help='default: the best by validation where the run has a validation split, otherwise the latest',
    )


def path(text: str) -> Path:
    """The type of a flag that names a file or a directory, `gs://…` among them; `~` is expanded."""
    if not text:
        raise argparse.ArgumentTypeError('must not be empty')
    try:
        return to_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(error) from error


def positive(text: str) -> int:
    """The type of a flag that counts something."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number from 1')
    return int(text)


def seeds(text: str) -> tuple[int, ...]:
    """The type of `--seeds`: whole numbers, each once."""
    if not all(part.isdecimal() and int(part) < 2**32 for part in text.split(',')):
        raise argparse.ArgumentTypeError(f'{text!r} must be whole numbers below 2³², as 0,1')
    numbers = tuple(int(part) for part in text.split(','))
    if len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f'{text!r} has a seed twice')
    return numbers


def shard(text: str) -> tuple[int, int]:
    """The type of `--shard`: i/n as (i, n), from 1/n to n/n."""
    index, slash, count = text.partition('/')
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f'{text!r} must be i/n, from 1/n to n/n, as 2/4')
    return int(index), int(count)


def add_study_flags(flags: Parser, output: str) -> None:
    """Adds what `dsconv.studies.engine.carry_out` asks for; `output` is the default of `--output`, for --help."""
    add_config_flag(flags)
    flags.add_argument('--seeds', type=seeds, default=(0, 1, 2), help='of the runs of each (default: 0,1,2)')
    flags.add_argument(
        '--shard', type=shard, default=(1, 1), metavar='I/N', help='the I-th of N parts of the runs, as 2/4, alone'
    )
    flags.add_argument(
        '--output',
        type=path,
        metavar='DIR',
        help=f'for the runs, which go on where they stopped, and study.json, .md, .png (default: {output})',
    )
    flags.add_argument('--dry-run', action='store_true', help='prints the command of each run and trains nothing')


def run(flags: Parser, command: Callable, arguments: list[str] | None = None) -> None:
    """Parses the command line and runs `command(arguments)`; ends the process.

    `--config.key=value` flags arrive as `arguments.overrides`, a list of `'key=value'`. Exit codes: 0 done, 2 wrong
    input, an unusable path among it, 1 a run or an object store that failed, 75 told to leave (the same command goes
    on), 130 interrupted.
    """
    prepare_process()
    line = sys.argv[1:] if arguments is None else arguments
    overrides, line = take_overrides(line)
    arguments = flags.parse_args(line)
    if overrides and not hasattr(arguments, 'config'):
        flags.error(f'there is no flag {CONFIG_FLAG}{overrides[0]}: this command takes no config')
    arguments.overrides = overrides
    try:
        command(arguments)
    except Preempted as leaving:
        flags.exit(PREEMPTED, f'{flags.prog}: {leaving}; the same command goes on\n')
    except KeyboardInterrupt:
        flags.exit(130, f'{flags.prog}: interrupted\n')
    except Exception as error:
        verdict = _verdict(error)
        if verdict is None:
            raise
        flags.fail(*verdict)


def _verdict(error):
    """(line, exit code) of what a person can mend; None of a fault of the program."""
    if isinstance(error, InputError):
        return error, 2
    if isinstance(error, RunError):
        return error, 1
    if isinstance(error, OSError) and (error.filename is not None or error.errno in DISK_CODES):
        where = f'{error.filename}: ' if error.filename else ''
        is_input = isinstance(error, UNUSABLE_PATH) or error.errno in UNUSABLE_CODES
        return f'{where}{error.strerror}', 2 if is_input else 1
    return (f'the object store failed: {" ".join(str(error).split())[:300]}', 1) if is_store_fault(error) else None


def take_overrides(line: list[str]) -> tuple[list[str], list[str]]:
    """Splits `--config.key=value` and `--config.key value`, as `key=value`, from the other arguments."""
    overrides, others = [], []
    words = list(line)
    while words:
        word = words.pop(0)
        if not word.startswith(CONFIG_FLAG):
            others.append(word)
            continue
        if '=' not in word and words and not words[0].startswith('--'):  # -3 is a value
            word += f'={words.pop(0)}'
        overrides.append(word.removeprefix(CONFIG_FLAG))
    return overrides, others
