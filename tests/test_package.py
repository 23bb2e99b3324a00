"""What `pip install .` installs works elsewhere (the test copies the files as setup.py says); imports are light."""

import re
import runpy
import shutil

import pytest

from dsconv.config import ROOT
from tests.commands import python

SCRIPT = """
import sys, dsconv
from dsconv import config
assert not {'jax', 'tensorflow', 'numpy'} & set(sys.modules)  # importing dsconv takes no time
print(config.load('configs/fast.py').epochs, config.find_file('configs/studies/depth.toml').name)
print(config.find_workdir('pretrained/small'), config.load_run(config.find_workdir('pretrained/small')).model.dim)
"""
REPORTING = """
import sys, dsconv.reporting
dsconv.reporting.MetricsLog('.', restored_step=0).close()
heavy = {'matplotlib', 'sklearn', 'tensorflow', 'tensorboard', 'jax', 'jinja2', 'tabulate'} & {*sys.modules}
from dsconv.reporting import figures
figures.png(figures.curves([]))
print(heavy, 'matplotlib.pyplot' in sys.modules)
"""
DATA = """
import sys, dsconv.data
print({'tensorflow', 'tensorflow_datasets', 'sklearn', 'jax'} & {*sys.modules})
from configs.common import get_config
dataset = get_config().dataset
dataset.name = 'digits'
train = dsconv.data.open_source(dataset).load('train')
print([len(labels) for _, labels in dsconv.data.train_batches(train, batch_size=8, seed=0, start_step=0, num_steps=2)])
print({'tensorflow', 'tensorflow_datasets'} & {*sys.modules})
"""
PEERS = 'import sys, benchmarks.process; print(*{"jax", "flax", "tensorflow", "torch", "keras"} & {*sys.modules})'
LIGHT = {'reporting': (REPORTING, 'set() False'), 'data': (DATA, 'set()\n[8, 8]\nset()'), 'benchmarks': (PEERS, '')}


def test_an_installed_package_brings_its_configs_and_its_network(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr('setuptools.setup', lambda **arguments: given.update(arguments))
    monkeypatch.chdir(ROOT)
    with monkeypatch.context() as patch:
        patch.setattr('shutil.rmtree', lambda path, ignore_errors: given.update(removed=path))
        runpy.run_path('setup.py')
    assert given['removed'].resolve() == ROOT / 'build' / 'lib'
    assert not any('#' in line for line in given['install_requires'])
    needed = {re.match(r'[\w-]+', line)[0] for line in given['install_requires']}
    assert needed >= {'jax', 'pillow', 'tensorflow-datasets'}
    packages = {name.replace('.', '/') for name in given['packages'] if 'shipped' not in name}
    assert packages == {str(file.parent.relative_to(ROOT)) for file in (ROOT / 'dsconv').rglob('__init__.py')}
    for package in given['packages']:
        source = ROOT / given['package_dir'].get(package, package.replace('.', '/'))
        patterns = given['package_data'][''] + given['package_data'].get(package, [])
        files = set(source.glob('*.py')).union(*map(source.glob, patterns))
        for file in [file for file in files if file.is_file()]:
            copy = tmp_path / 'site' / package.replace('.', '/') / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    done = python('-c', SCRIPT, cwd=tmp_path, PYTHONPATH='site')
    shipped = tmp_path / 'site' / 'dsconv' / 'shipped' / 'pretrained' / 'small'
    assert (done.stderr, done.stdout.split()) == ('', ['10', 'depth.toml', str(shipped), '128'])
    done = python('-m', 'dsconv.benchmark', '--config=configs/small.py', cwd=tmp_path, PYTHONPATH='site')
    assert done.returncode == 2 and done.stderr.endswith('not in what pip installs: run them there\n')
    shipped_in = 'site/dsconv/shipped'
    for folder, where in (('dsconv', 'site'), ('configs', shipped_in), ('pretrained', shipped_in)):
        files = [file for file in (ROOT / folder).rglob('*') if file.is_file() and '__pycache__' not in file.parts]
        assert [file for file in files if not (tmp_path / where / file.relative_to(ROOT)).exists()] == []


@pytest.mark.parametrize('package', LIGHT)
def test_importing_is_light_and_so_are_figures_and_batches_from_memory(package, tmp_path):
    code, printed = LIGHT[package]
    done = python('-c', code, cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, printed), done.stderr
