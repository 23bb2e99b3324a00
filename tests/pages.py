"""The pages of the project: their blocks of code, and commands in them.

An indented block, and a fenced one without a language, is of commands. One that needs more than the environment says so
by `# needs …` at its end.
"""

import re
import shlex
from typing import NamedTuple

from dsconv.config import ROOT

PAGES = [ROOT / 'README.md', ROOT / 'docs' / 'quickstart.md']  # first what makes the run that others speak of
PAGES += sorted({*ROOT.glob('*.md'), *ROOT.glob('docs/*.md')} - set(PAGES))


class Line(NamedTuple):
    """A line of a block of code; `where` is page:number."""

    where: str
    language: str
    text: str


def code(page):
    language = None
    for number, text in enumerate(page.read_text(encoding='utf-8').splitlines(), 1):
        where = f'{page.relative_to(ROOT)}:{number}'
        if text.startswith('```'):
            language = None if language is not None else text[3:] or 'sh'
        elif language is not None:
            yield Line(where, language, text)
        elif text.startswith('    ') and text.strip():
            yield Line(where, 'sh', text.strip())


def commands(page):
    """The commands of a page's blocks, each on one line."""
    begun = ''
    for where, language, text in code(page):
        if language == 'sh':
            begun += text
            if text.endswith('\\'):
                begun = begun[:-1]
            else:
                yield Line(where, language, begun)
                begun = ''


def prose(page):
    """A page without its blocks of code."""
    text = re.sub(r'^```.*?^```$', '', page.read_text(encoding='utf-8'), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r'^    .*$', '', text, flags=re.MULTILINE)


def quoted(page):
    return [' '.join(words.split()) for words in re.findall(r'`([^`]+)`', prose(page))]


def words_of(text):
    return shlex.split(text, comments=True)


def needs(text):
    found = re.search(r'# needs (.+)$', text)
    return found and found[1]
