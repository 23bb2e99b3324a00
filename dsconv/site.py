"""Installs the project's requirements that the Python of a hosted notebook (Colab, Kaggle) lacks."""

import re
import subprocess
import sys
from pathlib import Path
from shlex import quote

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from dsconv.process import versions

STAND_INS = {'tensorflow-cpu': 'tensorflow'}  # the same modules under another name


def prepare(checkout: str, runtime: str, hosted: bool) -> tuple[str, str]:
    """Installs the requirements of `checkout` if the notebook is `hosted`; `runtime` is cpu, gpu or tpu.

    If JAX is missing, or Python or a package has an unsupported version, installs everything into `checkout/.venv`.

    Returns: the Python to use, and the start of a shell command, used as `f'{command}.main --config=…'`.
    Raises subprocess.CalledProcessError if pip fails.
    """
    python, packages = sys.executable, lacking(checkout) if hosted else []
    pip = [python, '-m', 'pip', 'install', '-q']
    if packages is None:
        python, uv = f'{checkout}/.venv/bin/python', [sys.executable, '-m', 'uv']
        into = [*uv, 'pip', 'install', '-q', '--python', python]
        jax = {'cpu': 'jax', 'gpu': 'jax[cuda12]', 'tpu': 'jax[tpu]'}[runtime]
        commands = [
            [*pip, 'uv'],
            [*uv, 'venv', '-q', '--allow-existing', '--project', checkout, f'{checkout}/.venv'],
            [*into, '-r', f'{checkout}/requirements.txt', jax],
        ]
    else:
        commands = [[*pip, *packages]] if packages else []
    for command in commands:
        subprocess.run(command, check=True)
    return python, f'env MPLBACKEND=agg PYTHONPATH={quote(checkout)} {quote(python)} -m dsconv'


def lacking(checkout: str | Path) -> list[str] | None:
    """Returns the missing packages of `checkout/requirements.txt`; None without JAX or with an unsupported version."""
    # Without tomllib, which Python 3.10 lacks.
    (python,) = re.findall(r'^requires-python = "(.+)"', Path(checkout, 'pyproject.toml').read_text(), re.MULTILINE)
    texts = [Path(checkout, name).read_text() for name in ('requirements-light.txt', 'requirements.txt')]
    lines = [line.partition('#')[0].strip() for text in texts for line in text.splitlines()]
    requirements, absent = [Requirement(line) for line in lines if line and not line.startswith('-r ')], []
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
