"""Commands of other programs: shown, run, and their failures told in one line."""

import shlex
import subprocess
import sys
from dataclasses import dataclass

from dsconv.errors import RunError


@dataclass(frozen=True)
class Commands:
    """Runs commands and prints them to stderr; with `dry_run` prints them to stdout instead, as a shell reads them."""

    dry_run: bool = False

    def say(self, text: str) -> None:
        """Prints `text` as a shell's comment."""
        self._print(f'# {text}')

    def run(self, *words: str) -> None:
        """Runs a command, with its output on the terminal. Raises: RunError with the command's own message."""
        code, message = self.attempt(*words)
        if code:
            raise RunError(message or f'{shlex.join(words)}: exit code {code}')

    def attempt(self, *words: str) -> tuple[int, str]:
        """Runs a command, with its output on the terminal; returns its exit code and its message, if that is not 0."""
        self._print(shlex.join(words))
        if self.dry_run:
            return 0, ''
        with _started(words, stderr=subprocess.PIPE) as process:
            lines = []
            for line in process.stderr:
                sys.stderr.write(line)
                lines.append(line)
        return process.returncode, _message(lines) if process.returncode else ''

    def read(self, *words: str, pretended: str) -> tuple[int, str]:
        """Runs a command that changes nothing; returns exit code 0 and its stdout, or its exit code and its message.

        A dry run takes it to have printed `pretended`.
        """
        self._print(shlex.join(words))
        if self.dry_run:
            return 0, pretended
        with _started(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            output, errors = process.communicate()
        return process.returncode, _message(errors.splitlines()) if process.returncode else output.strip()

    def _print(self, line):
        print(line if self.dry_run else f'+ {line}', file=sys.stdout if self.dry_run else sys.stderr, flush=True)


def _started(words, **streams):
    try:
        return subprocess.Popen(words, text=True, errors='replace', **streams)
    except FileNotFoundError as error:
        raise RunError(f'there is no {words[0]} on this machine: install it') from error


def _message(lines):
    """gcloud's own error among the lines of its stderr with what it says below, in one line, else the last line."""
    lines = [line.strip() for line in lines if line.strip()]
    errors = [index for index, line in enumerate(lines) if line.startswith('ERROR')]
    return ' '.join(lines[errors[-1] :])[:600] if errors else ''.join(lines[-1:])
