"""How much of a study is left, from what finished units took."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from runs import Folders, Unit

from mmssl_dynamic.fileio import read_json


def plan_text(units: Sequence[Unit], folders: Folders) -> str:
    """A line for each unit that is left, and the sum."""
    seconds = {unit: found for unit in units if (found := _seconds(unit, folders)) is not None}
    left = [unit for unit in units if unit not in seconds]
    lines = [f"{len(units) - len(left)} of {len(units)} runs are finished."]
    if not left:
        return lines[0]
    per_cost = median(found / _cost(unit) for unit, found in seconds.items()) if seconds else None
    total = 0.0
    for unit in left:
        same = [found for other, found in seconds.items() if other.run == unit.run]
        expected = median(same) if same else per_cost * _cost(unit) if per_cost is not None else None
        total += expected or 0.0
        when = "?" if expected is None else f"{expected / 60:.0f} min"
        lines.append(f"  left: {unit.run.name}, seed {unit.seed}: {when}")
    if per_cost is None:
        lines.append("The time is known when the first run is finished.")
    else:
        lines.append(f"About {total / 3600:.1f} h left, one run at a time.")
    return "\n".join(lines)


def _seconds(unit: Unit, folders: Folders) -> float | None:
    """Of a finished unit."""
    if not unit.result(folders).is_file():
        return None
    return max(1.0, sum(read_json(unit.folder(folders) / "seconds.json", "timings").values()))


def _cost(unit: Unit) -> float:
    return unit.run.epochs * unit.run.cost
