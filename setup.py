"""What is installed: the package, and in `dsconv/shipped` the configs and the published network that lie beside it.

pyproject.toml has the rest; it cannot name packages that lie elsewhere and find the others by itself.
"""

from setuptools import find_packages, setup

SHIPPED = {'dsconv.shipped.configs': 'configs', 'dsconv.shipped.pretrained': 'pretrained'}

setup(
    packages=[*find_packages(include=['dsconv', 'dsconv.*']), *SHIPPED],
    package_dir=SHIPPED,
    package_data={
        'dsconv.reporting': ['page.html'],
        'dsconv.shipped.configs': ['studies/*.toml'],
        'dsconv.shipped.pretrained': ['**/*'],
    },
)
