"""The arguments that the class behind a ``type`` of a config takes."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeGuard


@dataclass(frozen=True)
class Parameters:
    """Names of arguments.

    Attributes:
        names: The names.
        open: Whether there may be others: keywords that are handed on to something that cannot be told.
    """

    names: set[str]
    open: bool

    def __or__(self, other: Parameters) -> Parameters:
        """What at least one of two takes."""
        return Parameters(self.names | other.names, self.open or other.open)


def parameters_of(kind: Any, scope: str) -> Parameters | None:
    """What the class, or the classes, that a ``type`` may name take.

    Args:
        kind: A name in one of mmengine's registries, with or without scope, the path of an object that can be imported,
            or the object itself.
        scope: Where a name without a scope is looked up first.

    Returns:
        The arguments; ``None`` if there is no such class.
    """
    found = None
    for part in _named(kind, scope) if isinstance(kind, str) else [kind]:
        if callable(part):
            found = _parameters(part) if found is None else found | _parameters(part)
    return found


def _named(name: str, scope: str) -> Iterator[Any]:
    """What goes by a name in any of the registries: a config does not say which of them builds it."""
    from mmengine.registry import Registry, root

    given, _, rest = name.partition(".")
    scopes = [given] if rest else list(dict.fromkeys((scope, "mmengine")))
    for registry in {id(entry): entry for entry in vars(root).values() if isinstance(entry, Registry)}.values():
        for place in scopes:
            found = _registered(registry, rest or name, place)
            if found is not None:
                yield found
                break
    if rest:
        module, _, attribute = name.rpartition(".")
        try:
            yield getattr(import_module(module), attribute)
        except Exception:  # not the path of an object, or one that does not import here
            return


def _registered(registry: Any, name: str, scope: str) -> Any:
    """What a root registry, or its child of a scope, calls ``name``; ``None`` if nothing, or if it does not import."""
    try:
        if scope != registry.scope:
            import_module(f"{scope}.registry")
            registry = registry.children[scope]
        registry.import_from_location()
    except Exception:  # no such scope, or one that does not import here: building will say why
        return None
    return registry.module_dict.get(name)


def _parameters(part: Callable[..., Any]) -> Parameters:
    if isinstance(part, functools.partial):
        # Such as torchvision's transforms in mmpretrain: a wrapper that is given the class it wraps.
        found = _parameters(part.func)
        for value in part.keywords.values():
            found = found | (_parameters(value) if inspect.isclass(value) else Parameters(set(), False))
        return Parameters(found.names - set(part.keywords), found.open)
    if not inspect.isclass(part):
        names, keywords = _signature(part)
        return Parameters(names, keywords is not None)
    found, reachable = Parameters(set(), False), True
    for base in part.__mro__:
        init = vars(base).get("__init__")
        if init is None or base is object:
            continue
        names, keywords = _signature(init)
        if keywords is None:
            reachable = False  # what comes after takes no keywords from a config; which names are its own affair
            found = found | Parameters(names, False)
            continue
        taken = _taken_from(init, keywords)
        found = found | Parameters(names | (taken or set()), reachable and taken is None)
    return found


def mentions(kind: Any, scope: str, name: str) -> bool:
    """Whether a module of the classes that a ``type`` may name, or of their bases, has ``name`` as a string.

    Classes read and take out entries of the dictionaries they are given: ``dcn.pop('fallback_on_stride')``.
    """
    parts = list(_named(kind, scope)) if isinstance(kind, str) else [kind]
    names = {getattr(base, "__module__", "") for part in parts for base in getattr(part, "__mro__", (part,))}
    return any(f"'{name}'" in text or f'"{name}"' in text for text in map(_source, names))


@functools.cache
def _source(module: str) -> str:
    try:
        return inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):
        return ""


def _signature(function: Callable[..., Any]) -> tuple[set[str], str | None]:
    """Names of the arguments, and of the dictionary of further keywords: ``None`` without one, ``''`` if unknown."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return set(), ""
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} - {"self"}
    return named, next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)


@functools.cache
def _taken_from(init: Callable[..., Any], keywords: str) -> set[str] | None:
    """Names that a constructor itself takes out of its further keywords, if it hands the rest to another constructor.

    Returns:
        The names; ``None`` if it does anything else with them, or if that cannot be told.
    """
    if not keywords:
        return None
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(init))))
    except (OSError, TypeError, SyntaxError):
        return None
    names: set[str] = set()
    explained: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "__init__":  # super().__init__(..., **kwargs)
                explained |= {keyword.value for keyword in node.keywords if keyword.arg is None}
            elif node.args and isinstance(node.args[0], ast.Constant):  # kwargs.pop('name')
                explained.add(node.func.value)
                names |= {str(node.args[0].value)} if _is_name(node.func.value, keywords) else set()
        elif isinstance(node, ast.Subscript):  # kwargs['name'] = ...
            explained.add(node.value)
            if _is_name(node.value, keywords) and isinstance(node.slice, ast.Constant):
                names.add(str(node.slice.value))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):  # check(kwargs)
            explained |= set(node.value.args)
        elif isinstance(node, ast.Assign) and any(_is_name(target, keywords) for target in node.targets):
            explained |= set(ast.walk(node.value))  # kwargs = {'name': ..., **kwargs}
    reads = [n for n in ast.walk(tree) if _is_name(n, keywords) and isinstance(n.ctx, ast.Load)]
    return names if all(node in explained for node in reads) else None


def _is_name(node: ast.AST, name: str) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and node.id == name
