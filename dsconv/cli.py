"""What the commands share: flags, exit codes, one line for an error."""

import argparse
import logging
import sys
from collections.abc import Callable

from dsconv.errors import InputError, RunError
from dsconv.training.runtime import prepare_process

CONFIG_FLAG = '--config.'


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f'{self.prog}: error: {message}\n')


def parser(command: str, description: str) -> Parser:
    """The parser of `python -m dsconv.<command>`; flags cannot be abbreviated."""
    return Parser(prog=f'python -m dsconv.{command}', description=description, allow_abbrev=False)


def add_config_flag(flags: Parser) -> None:
    """Adds `--config=FILE`, which is needed, and `--config.key=value`."""
    flags.add_argument('--config', required=True, metavar='FILE', help='a config file, as configs/small.py')
    flags.add_argument(
        '--config.KEY',
        dest='_',
        metavar='VALUE',
        help='overrides a key of the config, as --config.model.dim=64; configs/common.py lists them all',
    )


def run(flags: Parser, command: Callable, arguments: list[str] | None = None) -> None:
    """Parses the command line and runs `command(arguments)`; ends the process.

    `--config.key=value` flags arrive as `arguments.overrides`, a list of `'key=value'`. Exit codes: 0 done, 2 wrong
    input, 1 a run that failed.
    """
    prepare_process()
    line = sys.argv[1:] if arguments is None else arguments
    overrides, line = _take_overrides(line)
    arguments = flags.parse_args(line)
    if overrides and not hasattr(arguments, 'config'):
        flags.error(f'unrecognized arguments: --config.{overrides[0]}')
    arguments.overrides = overrides
    logging.getLogger('absl').setLevel(logging.ERROR)  # Orbax and TFDS tell of their inner life
    try:
        command(arguments)
    except (InputError, RunError) as error:
        print(f'{flags.prog}: error: {error}', file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        print(f'{flags.prog}: interrupted', file=sys.stderr)
        sys.exit(130)


def _take_overrides(line):
    """Splits `--config.key=value` and `--config.key value` from the other arguments."""
    overrides, others = [], []
    words = iter(line)
    for word in words:
        if not word.startswith(CONFIG_FLAG):
            others.append(word)
        elif '=' in word:
            overrides.append(word.removeprefix(CONFIG_FLAG))
        else:
            value = next(words, None)
            overrides.append(word.removeprefix(CONFIG_FLAG) + ('' if value is None else f'={value}'))
    return overrides, others
