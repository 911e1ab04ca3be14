"""The header of every config: what it is, the command, what it costs and what comes out, or that nobody knows."""

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, header_of

CONFIGS = sorted(p for p in (ROOT / "configs").rglob("*.py") if "_base_" not in p.parts)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_a_config_says_what_it_is_its_command_its_cost_and_its_result(path):
    lines = header_of(path)
    assert lines
    assert lines[0].startswith(" ")
    assert len(lines[0]) > 20
    commands = "\n".join(line for line in lines if line.startswith("   "))
    assert path.relative_to(ROOT).as_posix() in commands or {"demo", "transfer"} & set(path.parts)
    assert commands
    text = " ".join(" ".join(lines).split())
    assert re.search(r"Time and memory: .+ Result: .+\.|Time, memory and result are not measured", text)


def test_names_have_one_spelling_of_a_network():
    """mmpretrain's: r18 and mobilenet-v3. A *family* of ResNets is a resnet."""
    for path in CONFIGS:
        assert not re.search(r"resnet\d|mbv3|mobilenetv3", path.stem), path.stem


@pytest.mark.parametrize(
    "folder", sorted(p for p in (ROOT / "configs").iterdir() if p.name != "_base_"), ids=lambda p: p.name
)
def test_the_page_of_a_folder_names_all_of_its_configs(folder: Path):
    """By their names, with ``{a,b}`` and ``*`` as a shell has them, or by the folder that they are in."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    patterns = [p for quoted in re.findall(r"`([^`]+)`", text) for p in braces(quoted)]
    for path in folder.rglob("*.py"):
        inside = path.relative_to(folder)
        if "_base_" in inside.parts:
            continue
        assert any(inside.match(p) or (p.endswith("/") and inside.as_posix().startswith(p)) for p in patterns), path


def braces(pattern: str) -> list[str]:
    """``a{b,c}`` as ``ab`` and ``ac``."""
    match = re.search(r"\{([^}]*)\}", pattern)
    if match is None:
        return [pattern]
    start, end = pattern[: match.start()], pattern[match.end() :]
    return [whole for part in match.group(1).split(",") for whole in braces(start + part + end)]
