"""The table of faults: what was tried, and what survived.

    python -m tests.faults.table faults_1.json faults_2.json > table.md

adds up what campaigns of several seeds wrote.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Row = Sequence[str | int]


@dataclass
class Count:
    """Of one kind of fault to one command.

    Attributes:
        tried: Times.
        survived: Those of them.
        how: How it was done, where there are several ways.
    """

    tried: int = 0
    survived: int = 0
    how: str = ""

    def add(self, survived: bool, how: str | None) -> None:
        """Count one more."""
        self.tried += 1
        self.survived += survived
        self.how = how or self.how

    def values(self) -> tuple[int, int, str]:
        """For a row."""
        return self.tried, self.survived, self.how


def markdown(rows: Sequence[Row]) -> str:
    """Rows of fault, command, tried, survived and how, as Markdown with a sum for each fault."""
    lines = ["| fault | command | tried | survived |", "|---|---|---:|---:|"]
    for fault in dict.fromkeys(row[0] for row in rows):
        own = [row for row in rows if row[0] == fault]
        ways = ", ".join(sorted({str(row[4]) for row in own if row[4]}))
        if len(own) > 1:
            lines += [f"| {fault} | {row[1]} | {row[2]} | {row[3]} |" for row in own]
        tried, survived = (sum(int(row[i]) for row in own) for i in (2, 3))
        name = f"{fault} ({ways})" if ways else fault
        lines.append(f"| **{name}** | **all** | **{tried}** | **{survived}** |")
    return "\n".join(lines)


def added_up(results: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows of several campaigns as one."""
    counts: dict[tuple[str, str], Count] = {}
    for row in (row for rows in results for row in rows):
        count = counts.setdefault((str(row[0]), str(row[1])), Count())
        count.tried += int(row[2])
        count.survived += int(row[3])
        count.how = str(row[4]) or count.how
    return [[*key, *count.values()] for key, count in counts.items()]


if __name__ == "__main__":
    print(markdown(added_up([json.loads(Path(name).read_text())["rows"] for name in sys.argv[1:]])))
