"""Tests the pages: parses commands and runs the cheap ones; checks flags, keys, links, paths, messages and versions.

Indented blocks, and fenced blocks without a language, hold commands. A command that needs more than the environment
ends with `# needs …`.
"""

import ast
import functools
import glob
import importlib
import importlib.util
import itertools
import re
import shlex
import tomllib
from pathlib import Path

import jax
import pytest
import yaml
from markdown_it import MarkdownIt

from benchmarks import gpu
from dsconv import cli
from dsconv import config as configuration
from dsconv.config import ROOT
from dsconv.errors import InputError
from dsconv.models import MODELS
from dsconv.performance.topology import SLICES
from dsconv.studies.study import of_models, read_study
from tests.drills.__main__ import DRILLS

PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/*.md')])
NEEDS = {
    'a TPU', 'a GPU', 'a cloud', 'jax[tpu]', 'CIFAR-10', 'pictures', 'minutes', 'npm', 'a browser', 'SLURM',
    'root', 'docker', 'wandb', 'requirements-export.txt', 'benchmarks/requirements.txt',
}  # fmt: skip
OTHER_PROGRAMS = {
    '.', 'cd', 'export', 'gcloud', 'git', 'pre-commit', 'tensorboard', 'pip', 'docker', 'kubectl', 'npm', 'tar', 'uv',
}  # fmt: skip
every_page = pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)


@functools.cache
def tokens(page):
    return MarkdownIt().enable('table').parse(page.read_text(encoding='utf-8'))


def blocks(page, language):
    """Returns the code blocks of a language; a block without a language counts as 'sh'."""
    code = [token for token in tokens(page) if token.type in ('fence', 'code_block')]
    return [token.content for token in code if (token.info or 'sh') == language]


def inline(page, kind):
    return [child for token in tokens(page) for child in token.children or () if child.type == kind]


def quoted(page):
    return [token.content for token in inline(page, 'code_inline')]


def commands(page):
    """Returns the commands of a page's blocks, each on one line."""
    return [text for block in blocks(page, 'sh') for text in block.replace('\\\n', '').splitlines() if text.strip()]


def needs(text):
    found = re.search(r'# needs (.+)$', text)
    return found and found[1]


def check(text):
    """Raises AssertionError, InputError or SystemExit unless the command is valid as it stands."""
    assert needs(text) in {None, *NEEDS}
    for is_and, line in itertools.groupby(shlex.split(text, comments=True), '&&'.__eq__):
        program, *words = itertools.dropwhile(re.compile(r'\w+=').match, line)
        name = program.rpartition('/')[2]
        files = [file for flag, file in itertools.pairwise(words) if flag in ('-r', '-f')]
        files += [word for word in words if word.endswith('.sbatch')]
        assert all((ROOT / file).exists() for file in files), files
        if name in ('python', 'python3'):
            check_python(*words)
        elif name == 'make':
            check_make(*words)
        elif name == 'sbatch':
            rest = words[words.index(files[0]) + 1 :]
            check_command(*((rest[0], rest[1:]) if Path(files[0]).stem == 'study' else ('main', rest)))
        elif name == 'sky':
            given = dict(words[index + 1].split('=', 1) for index, word in enumerate(words) if word == '--env')
            for file in [word for word in words if word.endswith('.yaml')]:
                variables = yaml.safe_load((ROOT / file).read_text())['envs']
                assert set(given) <= set(variables)
                check_command('main', shlex.split((variables | given)['FLAGS']))
        elif name == 'tpu.sh':
            steps = re.findall(r'^  ((?:[a-z]+(?: \| )?)+)\) ', (ROOT / 'launch' / 'tpu.sh').read_text(), re.MULTILINE)
            assert words[0] in ' | '.join(steps).split(' | ')
            if words[0] == 'run':
                check(shlex.join(words[1:]))
        else:
            assert is_and or name in OTHER_PROGRAMS, f'{program} is not a command that these tests know'


def check_python(kind, *words):
    if kind == '-c':
        compile(words[0], 'docs', 'exec')
    elif kind == 'launch/processes.py':
        assert int(words[0]) > 0
        check_command('main', words[1:])
    else:
        assert kind == '-m' and importlib.util.find_spec(words[0]), words
        name, *words = words
        if name == 'tests.drills':
            assert {word.split('=')[0] for word in words} <= {*DRILLS, '--seed', '--output'}
        elif name == 'pytest':
            assert all((ROOT / word).exists() for word in words if not word.startswith('-'))
        elif name.startswith('dsconv.') and any(word.startswith('--') for word in words):
            check_command(name.removeprefix('dsconv.'), words)


def check_command(name, words):
    """Checks a command by its own flags, and its config with overrides, study and models; computes nothing."""

    def check_arguments(arguments):
        given = vars(arguments)
        if given.get('config') and not arguments.config.startswith('runs/'):
            configuration.load(arguments.config, arguments.overrides)
        if 'study' in given:
            read_study(arguments.study)
        if 'models' in given:
            of_models(arguments.models, MODELS)
        if given.get('topology'):
            assert set(arguments.topology.split(',')) <= {*SLICES, *SLICES.values()}

    cli.run(importlib.import_module(f'dsconv.{name}').flags(), check_arguments, list(words))


def check_make(target, *settings):
    makefile = (ROOT / 'Makefile').read_text()
    assert target in re.findall(r'^(\w+):', makefile, re.MULTILINE), f'there is no target {target}'
    settings = dict(setting.split('=', 1) for setting in settings)
    assert set(settings) <= set(re.findall(r'^(\w+) \?=', makefile, re.MULTILINE))
    if target == 'train':
        config = settings.get('CONFIG', 'configs/digits.py')
        check_command('main', [f'--config={config}', *shlex.split(settings.get('ARGS', ''))])


@every_page
def test_commands_are_still_understood(page):
    if 'gs://' in page.read_text(encoding='utf-8'):
        pytest.importorskip('tensorflow')
    inside = [text for text in quoted(page) if re.match(r'(python|make|pip|kubectl) .*[-\w]', text) and '…' not in text]
    for text in commands(page) + inside:
        try:
            check(text)
        except (InputError, SystemExit) as error:
            pytest.fail(f'{text} is refused: {error}')


def test_flags_and_keys_in_the_text_exist():
    files = [file for file in sorted((ROOT / 'dsconv').glob('*.py')) if 'def flags()' in file.read_text()]
    helps = [importlib.import_module(f'dsconv.{file.stem}').flags().format_help() for file in files]
    helps += [gpu.flags().format_help(), (ROOT / 'launch' / 'tpu.sh').read_text()]
    flags = {flag for text in helps for flag in re.findall(r'--\w[\w-]*', text)}
    flags |= {'--build-arg', '--recursive', '--service-account', '--xla_cpu_prefer_vector_width'}  # of other programs
    flags.add('--xla_gpu_deterministic_ops')
    keys = configuration.flatten(configuration.defaults())
    groups = '|'.join({key.partition('.')[0] for key in keys if '.' in key})
    for text in itertools.chain.from_iterable(map(quoted, PAGES)):
        assert set(re.findall(r'(?<![\w.-])--(?!config\.)\w[\w-]*', text)) <= flags, text
        if not re.fullmatch(
            r'model[.\w]*\.(tflite|onnx|stablehlo|safetensors|h|cc|report)', text
        ):  # files of an export
            named = re.findall(r'--config\.([\w.]*\w)', text) + re.findall(rf'^(?:{groups})\.\w+', text)
            assert all(key in {*keys, 'key'} for key in named), text


def test_commands_that_cost_little_do_what_they_say(finished_run, tmp_path, monkeypatch, capsys):
    """Commands that train, evaluate, draw or publish are tested elsewhere."""
    for entry in set(ROOT.iterdir()) - {ROOT / 'runs'}:
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / 'runs').mkdir()
    (tmp_path / 'runs' / 'digits').symlink_to(finished_run)
    monkeypatch.chdir(tmp_path)
    given = dict.fromkeys(text.split('  #')[0] for page in PAGES for text in commands(page) if not needs(text))
    given = [shlex.split(text) for text in given if text.startswith('python -m dsconv.')]
    cheap = {'summary', 'predict', 'report', 'ablate', 'compare'}
    assert {module.removeprefix('dsconv.') for _, _, module, *_ in given} > cheap
    for _, _, module, *words in given:
        if (name := module.removeprefix('dsconv.')) in cheap:
            command = importlib.import_module(module)
            words = [file for word in words for file in sorted(glob.glob(word)) or [word]]
            cli.run(command.flags(), getattr(command, name), words)
    printed = capsys.readouterr().out
    for told in ('docs/seven.png: ', '"picture": "docs/seven.png"', '130,442', 'kernel_size=7', 'runs/compare-digits'):
        assert told in printed
    assert Path('runs/page/report.html').is_file()


def test_the_augmentation_alone_does_what_the_page_says(monkeypatch):
    monkeypatch.setattr(jax, 'jit', lambda function: functools.partial(jax.eval_shape, function))
    names = {}
    exec('\n'.join(blocks(ROOT / 'docs' / 'augmentation.md', 'python')), names)
    assert (names['images'].shape, names['soft_labels'].shape) == ((64, 32, 32, 3), (64, 10))


def test_the_study_of_the_page_is_one(tmp_path):
    (tmp_path / 'mine.toml').write_text('\n'.join(blocks(ROOT / 'docs' / 'studies.md', 'toml')))
    for overrides in read_study(str(tmp_path / 'mine.toml')).variants.values():
        configuration.load('configs/digits.py', overrides)


def headings(page):
    return [text.content for opened, text in itertools.pairwise(tokens(page)) if opened.type == 'heading_open']


def slug(heading):
    return re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-')


@every_page
def test_links_and_paths_lead_somewhere(page):
    links = [token.attrs['href'] for token in inline(page, 'link_open')]
    for link in links + [token.attrs['src'] for token in inline(page, 'image')]:
        if not link.startswith('https:'):
            file, _, anchor = link.partition('#')
            target = page.parent / file if file else page
            assert target.exists(), link
            assert not anchor or anchor in map(slug, headings(target)), link
    there = {entry.name for folder in (ROOT, ROOT / 'dsconv') for entry in folder.iterdir()} - {'runs'}
    paths = [word for word in quoted(page) if re.fullmatch(r'[\w.-]+(/[\w.-]*)+', word) and word.split('/')[0] in there]
    paths += re.findall(r'(?<!--output=)\bresults/[\w/.-]*\w', page.read_text(encoding='utf-8'))  # except outputs
    for path in paths:
        assert (ROOT / path).exists() or (ROOT / 'dsconv' / path).exists(), path


def test_every_page_is_reached_from_the_readme():
    linked = {token.attrs['href'].rpartition('/')[2] for token in inline(ROOT / 'README.md', 'link_open')}
    assert linked >= {page.name for page in PAGES} - {'README.md'}


def test_messages_on_the_page_of_errors_are_still_said():
    texts = []  # all strings of the source, with `…` for each placeholder
    for file in itertools.chain((ROOT / 'dsconv').rglob('*.py'), (ROOT / 'benchmarks').rglob('*.py')):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append(''.join(part.value if isinstance(part, ast.Constant) else '…' for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    messages = [text for text in headings(ROOT / 'docs' / 'troubleshooting.md') if text.startswith('`')]
    assert len(messages) > 30
    for message in messages:
        pattern = '.*'.join(re.escape(part) for part in message.strip('`').split('…'))
        assert any(re.search(pattern, text, re.DOTALL) for text in texts), message


def test_one_version_and_one_licence():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert (citation['version'], citation['license']) == (project['version'], project['license'])
    assert f'## [{project["version"]}] - ' in (ROOT / 'CHANGELOG.md').read_text()
    assert citation['references'][0]['title'] in ' '.join((ROOT / 'README.md').read_text().split())
