"""The page of a study in docs/: its tables and figures are those of the last report."""

from __future__ import annotations

import shutil
from pathlib import Path

from runs import Folders

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.writing import write_text

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
#: What lies beside a page, in a folder of its name.
FILES = ("differences.png", "accuracies.png", "headline.png", "where.png", "commands.sh", "files.json")


def publish(page: Path, report: str, folders: Folders) -> None:
    """Put the report between the marks of the page, and figures, commands and hashes into the folder beside it.

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
    write_text(page, f"{before}{BEGIN}\n{report.rstrip()}\n{END}{after}")
