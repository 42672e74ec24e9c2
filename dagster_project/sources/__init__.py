"""Connectors: one file per kind of source, wire format in, typed record batches out.

A new connector is one module here that exposes `connector = Connector(...)`; nothing else is edited. Modules
whose name begins with an underscore are shared machinery. No business meaning, no Dagster, no SQL in this
package.
"""

import importlib
import pkgutil
from functools import cache

from dagster_project.errors import ConfigurationError
from dagster_project.sources._connector import Connector


@cache
def discover() -> dict[str, Connector]:
    """Import every connector module and give the connectors by kind, sorted.

    Raises:
        ConfigurationError: a module has no connector, or its connector's kind is not the module's name.
    """
    found: dict[str, Connector] = {}
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        if module_info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        connector = getattr(module, "connector", None)
        if not isinstance(connector, Connector) or connector.kind != module_info.name:
            msg = (
                f"Looked for a connector in {module.__name__}: expected `connector = Connector(...)` "
                "whose kind is "
                f"{module_info.name!r}. Add it, or begin the module's name with an underscore."
            )
            raise ConfigurationError(msg)
        found[connector.kind] = connector
    return found
