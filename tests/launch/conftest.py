"""A gcloud that only pretends, first in PATH, and a checkout to send."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launch import tpu

READY = {'state': '', 'states': [], 'created': ['READY'], 'runs': ['run: 0', 'run: 0'], 'failures': []}


class Cloud:
    """What the stand-in was asked, and what it will answer."""

    def __init__(self, directory):
        self.directory = directory
        self.script()

    def script(self, **changes):
        (self.directory / 'script.json').write_text(json.dumps(READY | changes))
        (self.directory / 'calls.jsonl').write_text('')

    def calls(self):
        return [json.loads(line) for line in (self.directory / 'calls.jsonl').read_text().splitlines()]

    def verbs(self):
        """The calls in short: create, describe, …, and of ssh what is asked of the workers."""
        return [_verb(call) for call in self.calls()]


def _verb(call):
    if call[:2] != ['compute', 'tpus']:
        return call[1]
    command = next((word for word in call if word.startswith('--command=')), '')
    return command.partition('on_worker.sh ')[2].split(' ')[0] or call[3]


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    executable = tmp_path / 'bin' / 'gcloud'
    executable.parent.mkdir()
    source = Path(__file__).with_name('fake_gcloud.py').read_text()
    executable.write_text(f'#!/usr/bin/env -S {sys.executable} -I -S\n{source}')
    executable.chmod(0o755)
    monkeypatch.setenv('PATH', f'{executable.parent}:{os.environ["PATH"]}')
    monkeypatch.setenv('FAKE_GCLOUD', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Cloud(tmp_path)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git checkout with one committed file, and one that is not."""
    root = tmp_path / 'checkout'
    root.mkdir()
    (root / 'committed.py').write_text('1\n')
    (root / 'configs').mkdir()
    for name in ('small', 'digits'):
        shutil.copyfile(tpu.ROOT / 'configs' / f'{name}.py', root / 'configs' / f'{name}.py')
    (root / 'dsconv').mkdir()
    for command in ('main', 'ablate', 'compare', 'evaluate'):
        (root / 'dsconv' / f'{command}.py').touch()
    identity = ['-c', 'user.name=x', '-c', 'user.email=x@example.com']
    for words in (['init', '-q'], ['add', '.'], [*identity, 'commit', '-q', '-m', 'x']):
        subprocess.run(['git', '-C', root, *words], check=True)
    (root / 'secret').write_text('2\n')
    monkeypatch.setattr(tpu, 'ROOT', root)
    return root
