"""What the Python of a hosted notebook, with its site's packages, has of the project's requirements."""

import importlib.metadata
import platform
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

STAND_INS = {'tensorflow-cpu': 'tensorflow'}  # the same modules under another name


def lacking(checkout: str | Path) -> list[str] | None:
    """Returns what this Python lacks of `checkout/requirements.txt`; None without JAX or with a wrong version."""
    project = tomllib.loads(Path(checkout, 'pyproject.toml').read_text(encoding='utf-8'))['project']
    if platform.python_version() not in SpecifierSet(project['requires-python']):
        return None
    absent = []
    for requirement in _requirements(Path(checkout, 'requirements.txt')):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        found = _version(requirement.name) or _version(STAND_INS.get(requirement.name))
        if found is None:
            absent.append(f'{requirement.name}{requirement.specifier}')
        elif not requirement.specifier.contains(found, prereleases=True):
            return None
    return None if _version('jax') is None else absent


def _requirements(file: Path) -> list[Requirement]:
    """Reads a requirements file and those that it includes."""
    requirements = []
    for line in file.read_text(encoding='utf-8').splitlines():
        text = line.partition('#')[0].strip()
        if text.startswith('-r '):
            requirements += _requirements(file.with_name(text[3:].strip()))
        elif text:
            requirements.append(Requirement(text))
    return requirements


def _version(name: str | None) -> str | None:
    try:
        return name and importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
