"""Checks which of the project's requirements the Python of a hosted notebook (Colab, Kaggle) lacks."""

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from dsconv.process import versions

STAND_INS = {'tensorflow-cpu': 'tensorflow'}  # the same modules under another name


def lacking(checkout: str | Path) -> list[str] | None:
    """Returns what this Python lacks of `checkout/requirements.txt`; None without JAX or with a wrong version."""
    # Not by tomllib, which Python 3.10 lacks.
    (python,) = re.findall(r'^requires-python = "(.+)"', Path(checkout, 'pyproject.toml').read_text(), re.MULTILINE)
    requirements, absent = _requirements(Path(checkout, 'requirements.txt')), []
    here = versions([*STAND_INS.values(), *(requirement.name for requirement in requirements)])
    if 'jax' not in here or here['python'] not in SpecifierSet(python):
        return None
    for requirement in requirements:
        if requirement.marker and not requirement.marker.evaluate():
            continue
        found = here.get(requirement.name) or here.get(STAND_INS.get(requirement.name))
        if found is None:
            absent.append(f'{requirement.name}{requirement.specifier}')
        elif not requirement.specifier.contains(found, prereleases=True):
            return None
    return absent


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
