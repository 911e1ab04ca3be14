"""Plain data out of JSON files, checked against the types of a dataclass before anybody uses it.

A field's annotation says what is allowed: ``int``, ``float`` (finite), ``str``, ``bool``, ``None``, ``list[...]``,
``tuple[...]``, ``dict[str, ...]``, unions of these, ``Any``, other dataclasses, and numbers with a :class:`Range`:
``Percent``, ``Count``, ``Amount``.
"""

from __future__ import annotations

import math
import reprlib
import types
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_ROUNDING = 1e-6  # by which a mean of percentages may be above 100


@dataclass(frozen=True)
class Range:
    """Bounds of a number, both allowed."""

    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"of at least {self.low:g}"
        return f"from {self.low:g} to {self.high:g}"


Percent = Annotated[float, Range(0, 100)]
Points = Annotated[float, Range(-100, 100)]
Count = Annotated[int, Range(0, 2**63 - 1)]
Amount = Annotated[float, Range(0)]


class RecordError(ValueError):
    """A value that is not what its field says; the message names field and value."""


def read_record(kind: type[T], data: Any, name: str = "", without: Iterable[str] = ()) -> T:
    """A dataclass out of plain data; keys that are no fields of it are ignored.

    Args:
        kind: The dataclass.
        data: A mapping with a value for every field that has no default.
        name: Of the value, for messages.
        without: Fields that are not in the data and keep their defaults.

    Raises:
        RecordError: a value is missing or is not of its type.
    """
    if not isinstance(data, dict):
        raise _wrong(name or "it", data, "a record")
    skipped, values = set(without), {}
    hints = _hints(kind)  # type: ignore[arg-type]
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in skipped or not field.init:
            continue
        path = f"{name}.{field.name}" if name else field.name
        if field.name in data:
            values[field.name] = _value(hints[field.name], data[field.name], path)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise RecordError(f"'{path}' is missing")
    return kind(**values)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _value(kind: Any, value: Any, name: str) -> Any:
    """``value`` if it is what ``kind`` says, numbers and sequences in the type that it says."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        return _number(arguments[0], value, name, arguments[1])
    if kind in (int, float):
        return _number(kind, value, name, Range())
    if origin in (Union, types.UnionType):
        return _either(arguments, value, name)
    if kind is type(None) or kind in (str, bool):
        if type(value) is not kind:
            raise _wrong(name, value, {str: "text", bool: "true or false"}.get(kind, "null"))
        return value
    if origin in (list, tuple) or kind in (list, tuple):
        return _sequence(origin or kind, arguments, value, name)
    if origin is dict or kind is dict:
        if not isinstance(value, dict):
            raise _wrong(name, value, "a record")
        return {key: _value(arguments[1] if arguments else Any, item, f"{name}.{key}") for key, item in value.items()}
    if is_dataclass(kind):
        return read_record(kind, value, name)  # type: ignore[arg-type]
    raise TypeError(f"{kind} of '{name}' is no kind of field that can be checked")


def _number(kind: type, value: Any, name: str, bounds: Range) -> int | float:
    shown = f"a {'whole ' if kind is int else ''}number" + (f" {bounds}" if bounds != Range() else "")
    if type(value) is not int and (kind is int or type(value) is not float):
        raise _wrong(name, value, shown)
    try:
        number = kind(value)
    except OverflowError as error:  # a whole number beyond all floats
        raise _wrong(name, value, shown) from error
    slack = _ROUNDING if kind is float else 0
    if not bounds.low - slack <= number <= bounds.high + slack or (kind is float and not math.isfinite(number)):
        raise _wrong(name, value, shown)
    return number


def _either(kinds: tuple[Any, ...], value: Any, name: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    for kind in others[:-1]:
        try:
            return _value(kind, value, name)
        except RecordError:
            continue
    return _value(others[-1], value, name)


def _sequence(kind: type, arguments: tuple[Any, ...], value: Any, name: str) -> Any:
    if not isinstance(value, list | tuple):
        raise _wrong(name, value, "a list")
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise _wrong(name, value, f"a list of {len(arguments)}")
        return tuple(_value(own, item, f"{name}[{i}]") for i, (own, item) in enumerate(zip(arguments, value)))
    own = arguments[0] if arguments else Any
    if own is str and all(type(item) is own for item in value):  # a million names, quickly
        return kind(value)
    return kind(_value(own, item, f"{name}[{i}]") for i, item in enumerate(value))


def _wrong(name: str, value: Any, wanted: str) -> RecordError:
    return RecordError(f"'{name}' is {reprlib.repr(value)}, not {wanted}")


def plain(node: Any) -> Any:
    """A value of a config as JSON holds it: dictionaries, lists, text, numbers; anything else as its text."""
    if isinstance(node, dict):
        return {str(key): plain(value) for key, value in node.items() if key != "_scope_"}
    if isinstance(node, list | tuple):
        return [plain(value) for value in node]
    return node if isinstance(node, str | int | float | bool | None) else str(node)
