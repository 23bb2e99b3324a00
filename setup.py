"""What is installed: the package, and in `dsconv/shipped` the configs and the published network that lie beside it.

pyproject.toml has the rest; it cannot name packages that lie elsewhere and find the others by itself, nor follow a
requirements file to the one that it includes.
"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup

SHIPPED = {'dsconv.shipped.configs': 'configs', 'dsconv.shipped.pretrained': 'pretrained'}


def requirements(file: Path) -> list[str]:
    """Returns the requirements of a file, those of the files that it includes among them."""
    lines = [line.split('#')[0].strip() for line in file.read_text(encoding='utf-8').splitlines()]
    included = [requirements(file.with_name(line.removeprefix('-r '))) for line in lines if line.startswith('-r ')]
    return sum(included, []) + [line for line in lines if line and not line.startswith('-r ')]


# setuptools never clears it: files that are gone, such as an older network, would be installed again.
shutil.rmtree(Path(__file__).with_name('build') / 'lib', ignore_errors=True)
setup(
    install_requires=requirements(Path(__file__).with_name('requirements.txt')),
    packages=[*find_packages(include=['dsconv', 'dsconv.*']), *SHIPPED],
    package_dir=SHIPPED,
    package_data={
        '': ['*.html', '*.toml', 'web/*', 'studies/*.toml'],
        'dsconv.shipped.pretrained': ['**/*'],
    },
)
