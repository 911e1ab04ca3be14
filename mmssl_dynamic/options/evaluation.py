"""A config file evaluated with other values for some of its top-level names; what is computed from them follows.

mmengine evaluates the files of an inheritance chain one by one, each as a Python program (those with ``_base_`` as well
as those with ``read_base()``). Between parsing and running such a program, a line is put after every statement that
gives a value to one of the names: ``image_size = 224`` becomes ``image_size = 224; image_size = <the option's value>``.
All that the rest of the file and of the chain makes of it, ``{{_base_.image_size}}`` included, is then made of the new
value, as if the files had been edited.
"""

from __future__ import annotations

import ast
import copy
import functools
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import mmengine.config.config as upstream
from mmengine.config import Config
from mmengine.config.utils import _get_external_cfg_path

from mmssl_dynamic.context import holding

Path = tuple[str, ...]
#: Values by top-level name, each for a path of keys below it; an empty path replaces the whole.
Edits = Mapping[str, Mapping[Path, Any]]

_edits: ContextVar[Edits] = ContextVar("edits", default={})  # noqa: B039  never changed in place
_programs: ContextVar[list[str] | None] = ContextVar("programs", default=None)
_lock = threading.Lock()


def evaluate(path: str, edits: Edits) -> Config:
    """Read a config file, with other values for top-level names wherever the files of its chain set them.

    Args:
        path: Config file.
        edits: The values. A path of keys that a value does not have is passed over.

    Raises:
        Exception: whatever the config, which is a program, raises.
    """
    programs: list[str] = []
    with holding(_edits, edits), holding(_programs, programs), _compiled_with_edits():
        config = Config.fromfile(path, import_custom_modules=False)
    if not programs and str(path).endswith(".py"):
        raise RuntimeError("this version of mmengine evaluates configs in another way; use mmengine 0.10")
    _plain_folders(config._cfg_dict)
    return config


class _Edited(ast.NodeTransformer):
    """Puts ``name = _edited('name', name)`` after every statement of a program that sets or changes ``name``."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Go through the blocks of compound statements, and not into functions, whose names are their own."""
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                setattr(node, field, [new for child in block for new in self._statement(child)])
        if isinstance(node, ast.For):
            node.body = [*self._lines(_set_names(node.target) & self.names, node), *node.body]
        for handler in getattr(node, "handlers", ()):
            self.generic_visit(handler)
        return node

    def _statement(self, node: ast.stmt) -> Iterator[ast.stmt]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node
            return
        compound = hasattr(node, "body")
        yield self.generic_visit(node) if compound else node  # type: ignore[misc]
        if not compound:
            yield from self._lines(_set_names(node) & self.names, node)

    def _lines(self, names: set[str], place: ast.stmt) -> Iterator[ast.stmt]:
        for name in sorted(names):
            line = f"{name} = __import__({__name__!r}, fromlist=['_edited'])._edited({name!r}, {name})"
            for node in ast.parse(line).body:
                yield ast.fix_missing_locations(ast.copy_location(node, place))


def _set_names(node: ast.AST) -> set[str]:
    """Names that a simple statement, or the target of a loop, sets or changes in place."""
    found = {child.id for child in ast.walk(node) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)}
    targets: list[ast.AST] = [t for t in ast.walk(node) if isinstance(getattr(t, "ctx", None), ast.Store)]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        targets.append(node.value.func)  # train_pipeline.insert(...)
    for target in targets:
        while isinstance(target, ast.Attribute | ast.Subscript):
            target = target.value
        if isinstance(target, ast.Name):
            found.add(target.id)
    return found


def _edited(name: str, value: Any) -> Any:
    """What an edited program calls: the value of ``name`` with the edits of it."""
    for path, new in _edits.get().get(name, {}).items():
        value = _replaced(value, path, copy.deepcopy(new))
    return value


def _replaced(old: Any, path: Path, new: Any) -> Any:
    """``old`` with ``new`` at ``path``; containers on the way are copied, since other names may hold them, too."""
    if not path:
        if isinstance(old, dict) and isinstance(new, dict):
            return Config._merge_a_into_b(new, old)
        return _Folder(new) if isinstance(old, str) and old.endswith("/") and isinstance(new, str) else new
    key: Any = path[0]
    if isinstance(old, list) and key.isdigit():
        key = int(key)
        known = key < len(old)
    else:
        known = isinstance(old, dict) and (len(path) == 1 or key in old)
    if not known:
        return old
    result = copy.copy(old)
    result[key] = _replaced(old.get(key) if isinstance(old, dict) else old[key], path[1:], new)
    return result


class _Folder(str):
    """Takes the place of ``'data/coco/'``: the configs that write it so say ``data_root + 'annotations/x.json'``."""

    __slots__ = ()

    def __add__(self, other: str) -> str:
        """The path of what is in the folder."""
        return str(self) + other if self.endswith("/") or other[:1] == "/" or not self else f"{self}/{other}"


def _plain_folders(node: Any) -> Any:
    """The same containers with strings for the folders."""
    if isinstance(node, dict):
        for key, child in dict.items(node):
            dict.__setitem__(node, key, _plain_folders(child))
    elif isinstance(node, list):
        node[:] = [_plain_folders(child) for child in node]
    elif type(node) is tuple:
        return tuple(_plain_folders(child) for child in node)
    return str(node) if isinstance(node, _Folder) else node


@contextmanager
def _compiled_with_edits() -> Iterator[None]:
    """While this holds, programs that mmengine's config module compiles in this context are edited first.

    Where the configs of an installed package lie is looked up once: mmengine reads all of its index for every file.
    """

    def compile_edited(source: Any, filename: Any, mode: str, **options: Any) -> Any:
        programs, edits = _programs.get(), _edits.get()
        if programs is not None and mode == "exec" and isinstance(source, ast.Module):
            programs.append(str(filename))
            source = _Edited(set(edits)).generic_visit(source)
        return compile(source, filename, mode, **options)

    with _lock, ExitStack() as stack:
        for name, stand_in in (
            ("compile", compile_edited),
            ("is_installed", _is_installed),
            ("_get_external_cfg_path", _external_path),
        ):
            stack.enter_context(_replace(name, stand_in))
        yield


@contextmanager
def _replace(name: str, value: Any) -> Iterator[None]:
    """Another global of mmengine's config module."""
    known, missing = vars(upstream), object()
    before = known.get(name, missing)
    known[name] = value
    try:
        yield
    finally:
        if before is missing:
            del known[name]
        else:
            known[name] = before


_mmengine_is_installed = upstream.is_installed


@functools.cache
def _is_installed(package: str) -> bool:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")  # mmengine's affair
        return bool(_mmengine_is_installed(package))


@functools.cache
def _indexed_path(package: str, config: str) -> str | None:
    try:
        return str(_get_external_cfg_path(package, config))
    except ValueError:
        return None


def _external_path(package: str, config: str) -> str:
    """As mmengine's; a base file is not in a package's index."""
    found = _indexed_path(package, config)
    if found is None:
        raise ValueError(f"{config} is not in the index of {package}")
    return found
