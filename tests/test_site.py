"""Missing and outdated packages, with invented versions."""

import importlib.metadata
import platform

import pytest

from dsconv.config import ROOT
from dsconv.site import lacking

REQUIREMENTS = """# a comment
jax>=0.9,<0.13
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

    assert lacking(ROOT) == []  # the environment of these tests
    (tmp_path / 'requirements.txt').write_text(REQUIREMENTS)
    (tmp_path / 'pyproject.toml').write_text('[project]\nrequires-python = ">=3.11,<3.14"\n')
    monkeypatch.setattr(importlib.metadata, 'version', version)
    monkeypatch.setattr(platform, 'python_version', lambda: python)
    assert lacking(tmp_path) == lacks
