"""The page of a study in docs/: its tables and figures are those of the last report.

Accuracies lie beside it, so that a study that was begun on one machine goes on and is reported on another.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runs import PUBLISHED, Folders, Unit

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.writing import to_json, write_json, write_text

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
#: What lies beside a page, in a folder of its name.
FILES = ("differences.png", "accuracies.png", "headline.png", "where.png", "commands.sh", "files.json")
#: What came of every run and how long it took, by the name of its folder.
RESULTS = "results.json"


def publish(page: Path, report: str, units: Sequence[Unit], folders: Folders) -> None:
    """Put the report between the marks of the page; figures, commands, hashes and results go into the folder beside it.

    Raises:
        ConfigError: the page is not there or lacks the marks.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"--page {page} must be a page with the lines '{BEGIN}' and '{END}'.")
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    for name in FILES:
        if (folders.out / name).is_file():
            shutil.copyfile(folders.out / name, folder / name)
    finished = {_name(unit, folders): _record(unit, folders) for unit in units if unit.result(folders).is_file()}
    write_text(folder / RESULTS, to_json({**_published(page), **finished}) + "\n")
    write_text(page, f"{before}{BEGIN}\n{report.rstrip()}\n{END}{after}")


def restore(page: Path, units: Sequence[Unit], folders: Folders) -> list[str]:
    """Put results that are published into the study's folder, where they count as finished.

    Not of runs that are there, and not of those whose weights an unfinished run needs. What a report takes from kept
    features (fidelity of scores, distances of domains) is not among them.

    Returns:
        Names of the runs' folders.
    """
    published, restored = _published(page), []
    absent = [unit for unit in units if not _made_here(unit, folders)]
    again = [unit for unit in absent if not unit.result(folders).is_file() and _name(unit, folders) not in published]
    for unit in again:  # which grows
        again += [other for other in (unit.needs, unit.base) if other in absent and other not in again]
    for unit in absent:
        if unit in again:
            unit.result(folders).unlink(missing_ok=True)  # restored before anything needed its weights
        elif not unit.result(folders).is_file():
            name = _name(unit, folders)
            unit.folder(folders).mkdir(parents=True, exist_ok=True)
            write_json(unit.folder(folders) / "seconds.json", published[name]["seconds"])
            write_json(unit.result(folders), {PUBLISHED: page.name, "tasks": published[name]["tasks"]})
            restored.append(name)
    for file in ("files.json", "commands.sh"):
        beside = page.with_suffix("") / file
        if restored and beside.is_file() and not (folders.out / file).is_file():
            shutil.copyfile(beside, folders.out / file)
    return restored


def _made_here(unit: Unit, folders: Folders) -> bool:
    file = unit.result(folders)
    return file.is_file() and PUBLISHED not in read_json(file, "result")


def _published(page: Path) -> dict[str, Any]:
    file = page.with_suffix("") / RESULTS
    return read_json(file, "results") if file.is_file() else {}


def _name(unit: Unit, folders: Folders) -> str:
    return str(unit.folder(folders).relative_to(folders.out))


def _record(unit: Unit, folders: Folders) -> dict[str, Any]:
    timings = unit.folder(folders) / "seconds.json"
    seconds = read_json(timings, "timings") if timings.is_file() else {}
    return {"tasks": read_json(unit.result(folders), "result")["tasks"], "seconds": seconds}
