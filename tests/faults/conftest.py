"""Counts what is tried in this folder and what survives, in a table at the end; ``FAULTS_TABLE`` is a file for it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.table import Count, markdown

_counts: dict[tuple[str, str], Count] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(what): a row of the table of faults")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[Any]:
    """Count a test whose mark says what it tries."""
    report = yield
    mark = item.get_closest_marker("fault")
    if mark is not None and not report.skipped and (report.when == "call" or report.failed):
        verb = getattr(item, "callspec", None) and item.callspec.params.get("verb")  # type: ignore[attr-defined]
        count = _counts.setdefault((mark.args[0], verb or "all commands"), Count())
        count.add(report.passed, dict(report.user_properties).get("disk"))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    if not _counts or "FAULTS_SEED" not in os.environ:
        return
    rows = [[*key, *count.values()] for key, count in _counts.items()]
    terminalreporter.section("faults")
    terminalreporter.write_line(markdown(rows))
    if os.environ.get("FAULTS_TABLE"):
        Path(os.environ["FAULTS_TABLE"]).write_text(json.dumps({"seed": os.environ["FAULTS_SEED"], "rows": rows}))
