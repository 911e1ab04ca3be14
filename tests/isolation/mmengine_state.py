"""mmengine's share of the global state: instances of its managers, registries, and the modules that fill them."""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import mmengine.registry
from mmengine.registry import Registry
from mmengine.utils import ManagerMixin

from tests.isolation.aspects import Aspect, State, same

_ROOT = Path(__file__).resolve().parents[2]
_INSTALLED = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "purelib", "platlib")})


class Managers(Aspect):
    """mmengine's default scope, loggers, message hubs and visualizers: every Runner makes one of each."""

    name, expected = "mmengine's", True

    def read(self) -> State:
        return {kind.__name__: tuple(kind._instance_dict.items()) for kind in self._kinds()}

    def write(self, state: State) -> None:
        for kind in self._kinds():
            kept = dict(state.get(kind.__name__, ()))
            for name, instance in kind._instance_dict.items():
                if name not in kept and isinstance(instance, logging.Logger):
                    for handler in instance.handlers:
                        handler.close()
            kind._instance_dict.clear()
            kind._instance_dict.update(kept)

    def changed(self, old: State, now: State) -> list[str]:
        # A kind that was imported since is no change as long as it has no instance.
        return [key for key in now if not same(old.get(key, ()), now[key])]

    def _kinds(self, base: Any = ManagerMixin) -> Iterator[Any]:
        for child in base.__subclasses__():
            yield child
            yield from self._kinds(child)


def _origin(module_name: str) -> str:
    """Where a module is from: a ``package`` (installed, built in, or ours), the ``checkout``, or ``elsewhere``."""
    if module_name not in sys.modules:
        return "elsewhere"
    return _origin_of(getattr(sys.modules[module_name], "__file__", None))


@cache  # around every test it is asked for each of 5,000 modules
def _origin_of(file: str | None) -> str:
    if file is None or not os.path.isabs(file) or file.startswith((*_INSTALLED, f"{_ROOT / 'mmssl_dynamic'}{os.sep}")):
        return "package"
    return "checkout" if file.startswith(f"{_ROOT}{os.sep}") else "elsewhere"


class Registries(Aspect):
    """What is registered, and the registries that there are.

    A module registers what is in it when it is imported, which may happen in any test. A package's stays, and so does
    that of a helper module of the tests. A test's own classes are leaks, unless they are in a module from elsewhere
    (such as a user's, which a config imports): then :class:`Modules` takes the module away, too.
    """

    name = "registered"

    def read(self) -> State:
        state: State = {"": frozenset(sys.modules)}
        for registry in self._all():
            where = f"{registry.scope}::{registry.name}"
            state[where] = registry
            state.update({f"{where}.{key}": kind for key, kind in registry._module_dict.items()})
        return state

    def write(self, state: State) -> None:
        for registry in self._all():
            where = f"{registry.scope}::{registry.name}"
            own = registry._module_dict
            for key in [key for key in own if self._foreign(f"{where}.{key}", own[key], state)]:
                del own[key]
            begins = f"{where}."
            own.update({key[len(begins) :]: kind for key, kind in state.items() if key.startswith(begins)})
            for scope, child in list(registry.children.items()):
                if self._foreign(f"{child.scope}::{child.name}", child, state):
                    del registry.children[scope]

    def changed(self, old: State, now: State) -> list[str]:
        new = [key for key in now if key and self._foreign(key, now[key], old)]
        return new + [key for key in old if key and old[key] is not now.get(key)]

    def reported(self, key: str, old: State, now: State) -> bool:
        module = _module_of(now.get(key))
        return key in old or module in old[""] or module not in sys.modules

    @staticmethod
    def _foreign(key: str, value: Any, before: State) -> bool:
        """Whether what is registered is to be taken away."""
        if key in before:
            return False
        module = _module_of(value)
        origin = _origin(module)
        return origin == "elsewhere" or (origin == "checkout" and module in before[""])

    @staticmethod
    def _all() -> Iterator[Registry]:
        waiting = [value for value in vars(mmengine.registry).values() if isinstance(value, Registry)]
        while waiting:
            registry = waiting.pop()
            yield registry
            waiting += registry.children.values()


def _module_of(value: Any) -> str:
    return str(value.scope if isinstance(value, Registry) else getattr(value, "__module__", ""))


class Modules(Aspect):
    """Modules from elsewhere: the next test may have another one of that name."""

    name, expected = "module", True

    def read(self) -> State:
        return {name: module for name, module in list(sys.modules.items()) if _origin(name) == "elsewhere"}

    def write(self, state: State) -> None:
        for name in set(self.read()) - set(state):
            del sys.modules[name]
