"""The code blocks of README.md and docs/, as a reader would copy them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: File that it is in, from the root.
        line: Where it begins.
        language: ``'bash'`` or ``'python'``, or whatever else.
        title: Name of the file that it is.
        code: What is in it.
    """

    page: str
    line: int
    language: str
    title: str | None
    code: str

    @property
    def commands(self) -> list[list[str]]:
        """The commands of a block of bash, in words: one a line, but for lines that end in a backslash."""
        lines = self.code.replace("\\\n", " ").splitlines()
        split = [shlex.split(line, comments=True) for line in lines]
        return [words for words in split if words]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """All pages with something to copy."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))] + sorted(
        (ROOT / "configs").rglob("*.md")
    )


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page that name their language."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page.relative_to(ROOT).as_posix(), line, *match.groups())


def all_blocks(language: str) -> list[Block]:
    """All blocks of a language, in the order of the pages."""
    return [block for page in pages() for block in blocks_of(page) if block.language == language]


def header_of(config: Path) -> list[str]:
    """The lines of comment that a config begins with, without the marks."""
    lines = config.read_text(encoding="utf-8").splitlines()
    return [line[1:] for line in takewhile(lambda line: line.startswith("#"), lines)]


def header_blocks() -> list[Block]:
    """The commands in the headers of configs, indented there, as blocks of bash."""
    found = []
    for config in sorted((ROOT / "configs").rglob("*.py")):
        code = "".join(f"{line.strip()}\n" for line in header_of(config) if line.startswith("   "))
        if code:
            found.append(Block(config.relative_to(ROOT).as_posix(), 1, "bash", None, code))
    return found


def unnamed_blocks() -> list[str]:
    """Where a fenced block without a language stands, by page and line."""
    found = []
    for page in pages():
        inside = False
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
            if line.startswith("```"):
                if not inside and line.strip() == "```":
                    found.append(f"{page.relative_to(ROOT).as_posix()}:{number}")
                inside = not inside
    return found
