"""What a network may cost: latency, multiply-accumulates, parameters, size; and quantities as people type them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from mmssl_dynamic.errors import ConfigError

_THOUSANDS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
_TIMES = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_SIZES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
BYTES_PER_WEIGHT = 4  # weights are exported in single precision


@dataclass(frozen=True)
class Cost:
    """Of one network.

    Attributes:
        macs: Multiply-accumulates per image.
        params: Learnable weights.
        latency_ms: On the device of a table, in milliseconds; ``None`` without one.
        estimated: Whether the latency is one of its neighbours' and not its own.
    """

    macs: int
    params: int
    latency_ms: float | None = None
    estimated: bool = False

    @property
    def size_bytes(self) -> int:
        """Of the weights in single precision."""
        return BYTES_PER_WEIGHT * self.params

    def __str__(self) -> str:
        """All of it, for people."""
        parts = [f"{self.macs / 1e6:,.1f} M multiply-accumulates", f"{self.params / 1e6:.2f} M weights"]
        if self.latency_ms is not None:
            parts.insert(0, f"{self.latency_ms:.2f} ms{' (estimated)' if self.estimated else ''}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Budget:
    """The most that a network may cost; ``None`` is no limit.

    Attributes:
        latency_ms: Milliseconds on a device.
        macs: Multiply-accumulates per image.
        params: Learnable weights.
        size_bytes: Bytes of the weights in single precision.
    """

    latency_ms: float | None = None
    macs: float | None = None
    params: float | None = None
    size_bytes: float | None = None

    @classmethod
    def of(cls, options: Mapping[str, str | None]) -> Budget:
        """From the texts of command-line options, by the name of the option (``'max_latency'`` and the like).

        Raises:
            ConfigError: a text is no such quantity.
        """
        values = {
            name: quantity(text, option)
            for option, name in OPTIONS.items()
            if (text := options.get(option)) is not None
        }
        return cls(**values)

    @property
    def limits(self) -> dict[str, float]:
        """Those that there are, by the name of the cost."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: limit for name, limit in found.items() if limit is not None}

    def load(self, cost: Cost) -> float:
        """The part of the budget that a network needs, of the limit that it comes nearest to: at most 1 if it fits.

        Without any limit, its share of a million multiply-accumulates, by which networks can be compared all the same.

        Raises:
            ConfigError: there is a limit on the latency and the cost has none.
        """
        if not self.limits:
            return cost.macs / 1e6
        loads = []
        for name, limit in self.limits.items():
            value = getattr(cost, name)
            if value is None:
                raise ConfigError("--max-latency needs the latencies of a device: measure them, --device-table FILE.")
            loads.append(value / limit)
        return max(loads)

    def fits(self, cost: Cost) -> bool:
        """Whether a network stays within all limits."""
        return not self.limits or self.load(cost) <= 1

    def __str__(self) -> str:
        """The limits, for people."""
        return " and ".join(f"at most {amount(name, limit)}" for name, limit in self.limits.items()) or "no limit"


#: Options of the command line and the limit that each sets.
OPTIONS = {"max_latency": "latency_ms", "max_macs": "macs", "max_params": "params", "max_size": "size_bytes"}
_UNITS = {"max_latency": _TIMES, "max_macs": _THOUSANDS, "max_params": _THOUSANDS, "max_size": _SIZES}
EXAMPLES = {"max_latency": "5ms", "max_macs": "200M", "max_params": "2.5M", "max_size": "8MB"}


def quantity(text: str, option: str) -> float:
    """A positive number with its unit, such as ``'5ms'``, ``'200M'`` or ``'8MB'``.

    Args:
        text: As typed.
        option: One of :data:`OPTIONS`, which says what it is a quantity of.

    Raises:
        ConfigError: it is none.
    """
    units = _UNITS[option]
    match = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)\s*", text.lower())
    number = _number(match[1]) if match else math.nan
    if match is None or match[2] not in units or not 0 < number < math.inf:
        known = ", ".join(unit or "no unit" for unit in units)
        raise ConfigError(
            f"--{option.replace('_', '-')} {text} must be a number above 0 with one of the units {known}, such as "
            f"{EXAMPLES[option]}."
        )
    return number * units[match[2]]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def amount(name: str, value: float) -> str:
    """A cost with its unit, for people.

    Args:
        name: Of the field of :class:`Cost`.
        value: In its unit.
    """
    if name == "latency_ms":
        return f"{value:.3g} ms"
    if name == "size_bytes":
        return f"{value / 1e6:.3g} MB"
    return f"{value / 1e6:,.3g} M {'weights' if name == 'params' else 'multiply-accumulates'}"
