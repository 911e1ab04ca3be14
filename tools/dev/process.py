"""Running other programs during the set-up. Standard library only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


class SetupError(Exception):
    """A problem of the set-up that its user can mend: one sentence."""


def say(message: str) -> None:
    """One line of progress."""
    print(f"[set-up] {message}", flush=True)


def environment(**changes: str) -> dict[str, str]:
    """The environment of a pip call: this process's, without what would send packages elsewhere."""
    # PIP_USER and PYTHONPATH would put packages, or find them, outside the virtual environment.
    kept = {name: value for name, value in os.environ.items() if name not in ("PIP_USER", "PYTHONPATH", "PYTHONHOME")}
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **changes}


def run(command: Sequence[str | Path], problem: str, **changes: str) -> None:
    """Run ``command`` with its output on the terminal; raise SetupError with ``problem`` when it fails."""
    try:
        finished = subprocess.run([str(part) for part in command], env=environment(**changes), check=False)
    except OSError as error:
        raise SetupError(f"{problem} ({error})") from error
    if finished.returncode != 0:
        raise SetupError(problem)


def output(command: Sequence[str | Path]) -> str | None:
    """What ``command`` prints, or None when it cannot be run or fails."""
    try:
        finished = subprocess.run(
            [str(part) for part in command], env=environment(), capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return finished.stdout.strip() if finished.returncode == 0 else None
