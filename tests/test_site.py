"""Missing and outdated packages, with invented versions."""

import importlib.metadata
import platform
import subprocess
import sys

import pytest

from dsconv import site
from dsconv.config import ROOT
from dsconv.site import lacking, prepare

LIGHT = """# a comment
jax>=0.9,<0.13
"""
REQUIREMENTS = """-r requirements-light.txt
tensorflow-cpu>=2.20,<2.22; python_version >= "3"
tensorflow>=2.20,<2.22; python_version < "3"
flax>=0.12.3,<0.13  # as Linen
"""
SITE = {'jax': '0.12.0.1', 'tensorflow': '2.21.0'}


@pytest.mark.parametrize(
    ('python', 'site', 'lacks'),
    [
        ('3.12.1', SITE, ['flax<0.13,>=0.12.3']),
        ('3.13.0', SITE | {'flax': '0.12.9'}, []),
        ('3.12.1', SITE | {'flax': '0.13.0'}, None),
        ('3.12.1', {'flax': '0.12.9', 'tensorflow-cpu': '2.20.0'}, None),  # without JAX
        ('3.14.0', SITE, None),
    ],
)
def test_a_site_is_used_where_all_that_it_has_is_in_range(tmp_path, monkeypatch, python, site, lacks):
    def version(name):
        if name not in site:
            raise importlib.metadata.PackageNotFoundError
        return site[name]

    (tmp_path / 'requirements.txt').write_text(REQUIREMENTS)
    (tmp_path / 'requirements-light.txt').write_text(LIGHT)
    (tmp_path / 'pyproject.toml').write_text('[project]\nrequires-python = ">=3.11,<3.14"\n')
    monkeypatch.setattr(importlib.metadata, 'version', version)
    monkeypatch.setattr(platform, 'python_version', lambda: python)
    assert lacking(tmp_path) == lacks


def test_packages_that_fit_are_added_and_others_installed_beside_them(monkeypatch):
    assert lacking(ROOT) == []  # the environment of these tests
    called, here = [], sys.executable
    monkeypatch.setattr(subprocess, 'run', lambda command, check: called.append(command))
    python, command = prepare("/it's", 'gpu', hosted=False)
    assert (called, python) == ([], here)
    assert command == f"env MPLBACKEND=agg PYTHONPATH='/it'\"'\"'s' {here} -m dsconv"
    monkeypatch.setattr(site, 'lacking', lambda checkout: ['flax<0.13'])
    assert prepare('/x', 'tpu', hosted=True)[0] == here
    assert called == [[here, '-m', 'pip', 'install', '-q', 'flax<0.13']]
    monkeypatch.setattr(site, 'lacking', lambda checkout: None)
    assert prepare('/x', 'tpu', hosted=True)[0] == '/x/.venv/bin/python'
    assert called[-1][-6:] == ['-q', '--python', '/x/.venv/bin/python', '-r', '/x/requirements.txt', 'jax[tpu]']
