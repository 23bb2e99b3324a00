"""The pages: commands parsed, and those that need nothing run; flags, keys, links, paths, messages and versions.

An indented block, and a fenced one without a language, holds commands. One that needs more than the environment says so
by `# needs …` at its end.
"""

import ast
import functools
import glob
import importlib
import importlib.util
import itertools
import json
import re
import shlex
import tomllib
from pathlib import Path

import jax
import pytest
import yaml
from jax.experimental.compilation_cache import compilation_cache
from markdown_it import MarkdownIt

from benchmarks import gpu
from dsconv import cli
from dsconv import config as configuration
from dsconv.config import ROOT
from dsconv.errors import InputError
from dsconv.models import MODELS
from dsconv.performance.topology import SLICES
from dsconv.studies.study import of_models, read_study
from tests.conftest import TINY

PAGES = [ROOT / 'README.md', ROOT / 'docs' / 'quickstart.md']  # first what makes the run that others speak of
PAGES += sorted({*ROOT.glob('*.md'), *ROOT.glob('docs/*.md')} - set(PAGES))
NEEDS = {
    'a TPU',
    'a GPU',
    'a cloud',
    'jax[tpu]',
    'CIFAR-10',
    'pictures',
    'minutes',
    'npm',
    'a browser',
    'a phone',
    'requirements-export.txt',
    'benchmarks/requirements.txt',
    'SLURM',
    'root',
    'docker',
    'wandb',
}
TRAINING = [f'--config.{key}={value}' for key, value in (TINY | {'epochs': '2'}).items()]
OTHER_PROGRAMS = ('.', 'cd', 'export', 'gcloud', 'git', 'pre-commit', 'tensorboard', 'pip', 'docker', 'kubectl', 'tar')
OTHER_PROGRAMS += ('npm', 'openssl')


@functools.cache
def tokens(page):
    return MarkdownIt().enable('table').parse(page.read_text(encoding='utf-8'))


def blocks(page, language):
    """Returns the blocks of code of a language, 'sh' where a block names none."""
    code = [token for token in tokens(page) if token.type in ('fence', 'code_block')]
    return [token.content for token in code if (token.info or 'sh') == language]


def inline(page, kind):
    return [child for token in tokens(page) for child in token.children or () if child.type == kind]


def quoted(page):
    return [token.content for token in inline(page, 'code_inline')]


def commands(page):
    """Returns the commands of a page's blocks, each on one line."""
    return [text for block in blocks(page, 'sh') for text in block.replace('\\\n', '').splitlines() if text.strip()]


def words_of(text):
    return shlex.split(text, comments=True)


def needs(text):
    found = re.search(r'# needs (.+)$', text)
    return found and found[1]


def check(text):
    """Raises AssertionError, InputError or SystemExit unless the command could be given as it stands."""
    assert needs(text) in {None, *NEEDS}
    for is_and, line in itertools.groupby(words_of(text), '&&'.__eq__):
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
            check_sky(*words)
        elif name == 'tpu.sh':
            check_tpu_script(*words)
        else:
            assert is_and or name in OTHER_PROGRAMS, f'{program} is not a command that these tests know'


def check_python(kind, *words):
    if kind == '-c':
        compile(words[0], 'docs', 'exec')
    elif kind == 'launch/processes.py':
        assert int(words[0]) > 0
        check_command('main', words[1:])
    else:
        assert kind == '-m'
        check_module(*words)


def check_module(name, *words):
    assert importlib.util.find_spec(name), f'there is no module {name}'
    if name == 'tests.drills':
        known = (ROOT / 'tests' / 'drills' / '__main__.py').read_text()
        assert all(word.split('=')[0] in known for word in words)
        assert all((ROOT / 'tests' / 'drills' / f'{word}.py').exists() for word in words if not word.startswith('--'))
    elif name == 'pytest':
        assert all((ROOT / word).exists() for word in words if not word.startswith('-'))
    elif name.startswith('dsconv.') and any(word.startswith('--') for word in words):
        check_command(name.removeprefix('dsconv.'), words)


def check_command(name, words):
    """By the command's own flags, and as far as nothing is computed: the config with its overrides, study, models."""
    cli.run(importlib.import_module(f'dsconv.{name}').flags(), check_arguments, list(words))


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


def check_make(target, *settings):
    makefile = (ROOT / 'Makefile').read_text()
    assert target in re.findall(r'^(\w+):', makefile, re.MULTILINE), f'there is no target {target}'
    settings = dict(setting.split('=', 1) for setting in settings)
    assert set(settings) <= set(re.findall(r'^(\w+) \?=', makefile, re.MULTILINE))
    if target == 'train':
        config = settings.get('CONFIG', 'configs/digits.py')
        check_command('main', [f'--config={config}', *shlex.split(settings.get('ARGS', ''))])


def check_sky(*words):
    given = dict(words[index + 1].split('=', 1) for index, word in enumerate(words) if word == '--env')
    for file in [word for word in words if word.endswith('.yaml')]:
        variables = yaml.safe_load((ROOT / file).read_text())['envs']
        assert set(given) <= set(variables)
        check_command('main', shlex.split((variables | given)['FLAGS']))


def check_tpu_script(step, *words):
    assert re.search(rf'^  ([a-z]+ \| )*{step}( \| [a-z]+)*\) ', (ROOT / 'launch' / 'tpu.sh').read_text(), re.MULTILINE)
    if step == 'run':
        check(shlex.join(words))


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
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
    flags |= {'--build-arg', '--recursive', '--service-account'}  # Docker's and gcloud's
    flags |= {'--xla_cpu_prefer_vector_width'}  # XLA's
    keys = configuration.flatten(configuration.defaults())
    groups = '|'.join({key.partition('.')[0] for key in keys if '.' in key})
    for text in itertools.chain.from_iterable(map(quoted, PAGES)):
        assert set(re.findall(r'(?<![\w.-])--(?!config\.)\w[\w-]*', text)) <= flags, text
        if re.fullmatch(r'model[.\w]*\.(tflite|onnx|stablehlo|safetensors|h|cc|report)', text):  # a file of an export
            continue
        named = re.findall(r'--config\.([\w.]*\w)', text) + re.findall(rf'^(?:{groups})\.\w+', text)
        assert all(key in {*keys, 'key'} for key in named), text


@pytest.fixture
def quick_compiler(tmp_path):
    """XLA optimises nothing, and compiles nothing twice."""

    def compile_quickly(cache, quickly):
        jax.config.update('jax_disable_most_optimizations', quickly)
        jax.config.update('jax_compilation_cache_dir', cache)
        compilation_cache.reset_cache()

    before = jax.config.jax_compilation_cache_dir
    compile_quickly(str(tmp_path / 'cache'), True)
    yield
    compile_quickly(before, False)


def run(text):
    """Runs a command in this process, a training made shorter; returns its exit code."""
    _, _, module, *words = words_of(text)
    words = [file for word in words for file in sorted(glob.glob(word)) or [word]]
    try:
        command = importlib.import_module(module)
        shorter = TRAINING if module == 'dsconv.main' and '--config=configs/digits.py' in words else []
        cli.run(command.flags(), getattr(command, module.removeprefix('dsconv.')), words + shorter)
    except SystemExit as end:
        return end.code
    return 0


def test_commands_that_need_nothing_do_what_they_say(quick_compiler, tmp_path, monkeypatch, capsys):
    for entry in set(ROOT.iterdir()) - {ROOT / 'runs'}:
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    given = dict.fromkeys(text.split('  #')[0] for page in PAGES for text in commands(page) if not needs(text))
    given = [text for text in given if text.startswith('python -m dsconv.')]
    modules = {words_of(text)[2].removeprefix('dsconv.') for text in given}
    assert modules >= {'main', 'evaluate', 'predict', 'summary', 'report', 'show_augment', 'ablate', 'compare'}
    printed = ''
    for text in given:
        code = run(text)
        output, errors = capsys.readouterr()
        assert code == 0, f'{text}\n{errors}'
        printed += output
    for told in ('docs/seven.png: ', '"picture": "docs/seven.png"', '130,442', 'kernel_size=7', 'runs/compare-digits'):
        assert told in printed
    for file in ('runs/digits/report/report.md', 'runs/elsewhere/report.md', 'runs/page/report.html', 'augment.png'):
        assert Path(file).is_file()
    first, again = (Path('runs', name, 'report', 'report.json').read_text() for name in ('digits', 'again'))
    assert json.loads(again)['confusion_matrix'] == json.loads(first)['confusion_matrix']


def test_the_augmentation_alone_does_what_the_page_says(quick_compiler):
    names = {}
    exec('\n'.join(blocks(ROOT / 'docs' / 'augmentation.md', 'python')), names)
    assert names['images'].shape == (64, 32, 32, 3)
    assert names['soft_labels'].shape == (64, 10)
    assert names['soft_labels'].sum() == pytest.approx(64)


def test_the_study_of_the_page_is_one(tmp_path):
    (tmp_path / 'mine.toml').write_text('\n'.join(blocks(ROOT / 'docs' / 'studies.md', 'toml')))
    for overrides in read_study(str(tmp_path / 'mine.toml')).variants.values():
        configuration.load('configs/digits.py', overrides)


def headings(page):
    return [text.content for opened, text in itertools.pairwise(tokens(page)) if opened.type == 'heading_open']


def slug(heading):
    return re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
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
    paths += re.findall(r'\bresults/[\w/.-]*\w', page.read_text(encoding='utf-8'))
    for path in paths:
        assert (ROOT / path).exists() or (ROOT / 'dsconv' / path).exists(), path


def test_every_page_is_reached_from_the_readme():
    linked = {token.attrs['href'].rpartition('/')[2] for token in inline(ROOT / 'README.md', 'link_open')}
    assert linked >= {page.name for page in PAGES} - {'README.md'}


def written_texts():
    """Returns all texts in the source of dsconv and of its benchmarks, `…` for what is filled in."""
    texts = []
    for file in [file for folder in ('dsconv', 'benchmarks') for file in (ROOT / folder).rglob('*.py')]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append(''.join(part.value if isinstance(part, ast.Constant) else '…' for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_messages_on_the_page_of_errors_are_still_said():
    texts = written_texts()
    messages = [text for text in headings(ROOT / 'docs' / 'troubleshooting.md') if text.startswith('`')]
    assert len(messages) > 30
    for message in messages:
        pattern = '.*'.join(re.escape(part) for part in message.strip('`').split('…'))
        assert any(re.search(pattern, text, re.DOTALL) for text in texts), message


def test_one_version_and_one_licence():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    citation = (ROOT / 'CITATION.cff').read_text()
    assert re.search(r'^version: (.+)$', citation, re.MULTILINE)[1] == project['version']
    assert re.search(r'^license: (.+)$', citation, re.MULTILINE)[1] == project['license'] == 'Apache-2.0'
    assert f'## [{project["version"]}] - ' in (ROOT / 'CHANGELOG.md').read_text()
    title = re.search(r'^    title: (.+)$', citation, re.MULTILINE)[1]
    assert title in ' '.join((ROOT / 'README.md').read_text().split())
