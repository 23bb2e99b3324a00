"""The networks that DSConv is compared with. Each module has a table `NETWORKS`: name → constructor.

A new module in this folder is found automatically.
"""

import importlib
import pkgutil

_MODULES = [importlib.import_module(f'{__name__}.{module.name}') for module in pkgutil.iter_modules(__path__)]
NETWORKS = {name: network for module in _MODULES for name, network in getattr(module, 'NETWORKS', {}).items()}
