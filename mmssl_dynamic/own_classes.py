"""Classes that a user names: those of a registry, and ``module.Class`` out of a module of the user's own."""

from __future__ import annotations

import sys
from typing import TypeVar

from mmengine.registry import Registry

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.options.custom_imports import import_own

T = TypeVar("T")


def named_class(registry: Registry, name: str, base: type[T], imports: bool = True) -> type[T]:
    """The class that a name stands for.

    Args:
        registry: Where classes are known by a name, whose own are registered by now.
        name: One of these names, or ``module.Class``.
        base: What it has to be a subclass of.
        imports: Whether the module is imported if need be. A name out of a file must import nothing: whoever writes
            the file would choose what runs.

    Raises:
        ConfigError: the name stands for no such class, or its module cannot be imported.
    """
    known = registry.module_dict
    if name in known:
        return known[name]
    module_name, _, attribute = name.rpartition(".")
    if module_name and imports:
        import_own(module_name)
    found = getattr(sys.modules.get(module_name), attribute, None)
    if isinstance(found, type) and issubclass(found, base):
        return found
    what = registry.name
    if module_name in sys.modules:
        raise ConfigError(f"{what} '{name}': module {module_name} has no subclass of {base.__name__} of this name.")
    raise ConfigError(
        f"{what} '{name}' is unknown; use one of {', '.join(sorted(known))}, or name a class in a module of your own: "
        "module.Class."
    )
