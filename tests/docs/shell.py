"""What a command on a page stands for: which verb of the package it runs, with which arguments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mmssl_dynamic.commands.registry import VERBS
from tests.docs.blocks import ROOT


@dataclass(frozen=True)
class Call:
    """A verb of the package and its arguments."""

    verb: str
    arguments: list[str]


def without_environment(words: list[str]) -> list[str]:
    """A command without the variables that it is given."""
    while words and re.match(r"[A-Z_][A-Z0-9_]*=", words[0]):
        words = words[1:]
    return words


def call_of(words: list[str]) -> Call | None:
    """The call of a command, directly or by a launcher; ``None`` for other commands."""
    words = without_environment(words)
    if words[0] in ("tools/dist_train.sh", "tools/slurm_train.sh"):
        script = (ROOT / words[0]).read_text(encoding="utf-8")
        assert "/train.py" in script
        if words[0].startswith("tools/dist"):
            config, gpus, *more = words[1:]
            assert int(gpus) > 0
            return Call("train", [config, "--launcher", "pytorch", *more])
        _, _, config, work_dir, *more = words[1:]
        return Call("train", [config, "--work-dir", work_dir, "--launcher", "slurm", *more])
    if words[0] == "tools/dist_run.sh":
        assert int(words[-1]) > 0
        return _verb([*words[1:-1], "--launcher", "pytorch"])
    if words[0] == "mmssl-dynamic":
        return _verb(words[1:])
    if words[0] == "torchrun":
        words = ["python", *(word for word in words[1:] if not word.startswith("--nproc_per_node="))]
    if words[0] != "python":
        return None
    if words[1:3] == ["-m", "mmssl_dynamic"]:
        return _verb(words[3:])
    if not re.fullmatch(r"tools/(data/)?\w+\.py", words[1]):
        return None
    verb = re.search(r'main_of\("([^"]+)"\)', (ROOT / words[1]).read_text(encoding="utf-8"))
    assert verb is not None, f"{words[1]} runs no verb"
    return Call(verb.group(1), words[2:])


def _verb(words: list[str]) -> Call:
    count = 1 if words[0] in VERBS else 2
    assert " ".join(words[:count]) in VERBS, words
    return Call(" ".join(words[:count]), words[count:])


def lay_out(world: Path) -> Path:
    """The checkout's configs and tools in a folder, as someone who types the commands sees them."""
    for name in ("configs", "tools", "docs", "requirements", "tests", "mmssl_dynamic", "Makefile", "setup.py"):
        (world / name).symlink_to(ROOT / name)
    return world
