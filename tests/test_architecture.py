"""Imports point down the floors of the package: no folder imports one above it, so no two import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmssl_dynamic

PACKAGE = Path(mmssl_dynamic.__file__).parent

# From the ground up; a floor may import those that stand before it. docs/architecture.md draws them.
FLOORS = (
    "errors",
    "context",
    "launchers",
    "budget",
    "version",
    "file_checks",
    "outputs",
    "config_names",
    "arguments",
    "execution",
    "writing",
    "locks",
    "cpu",
    "options",
    "interrupts",
    "lost_workers",
    "records",
    "arrays",
    "text_lists",
    "subnets",
    "registry",
    "own_classes",
    "fileio",
    "safe_loading",
    "cli",
    "processes",
    "fingerprints",
    "rows",
    "image_names",
    "clusters",
    "result_cache",
    "result_file",
    "models",
    "datasets",
    "loading",
    "calibration",
    "engine",
    "downstream",
    "features",
    "clustering",
    "presets",
    "forecast",
    "evaluation",
    "export",
    "teachers",
    "routing",
    "selection",
    "visualization",
    "detection",
    "apis",
    "pipeline",
    "demo",
    "commands",
    "__main__",
)
MODEL_FLOORS = (
    "augmentation",
    "elastic",
    "eval_mode",
    "backbones",
    "importance",
    "from_plain",
    "drift",
    "necks",
    "heads",
    "losses",
    "pruning",
    "sandwich",
    "sandwich_draws",
    "selfsup",
    "classifiers",
)


def imports(file: Path) -> Iterator[str]:
    """Modules that a file imports, inside functions too; ``from package import module`` counts as the module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if ".mim" not in path.parts]


def upward(folder: Path, prefix: str, floors: tuple[str, ...]) -> list[str]:
    """Imports that do not point down, as ``file -> module``."""
    found = []
    for file in modules():
        if not file.is_relative_to(folder) or file == folder / "__init__.py":
            continue
        own = file.relative_to(folder).parts[0].removesuffix(".py")
        assert own in floors, f"'{own}' has no floor: say in this test which floors it may import"
        for name in imports(file):
            if name.startswith(f"{prefix}."):
                other = name.removeprefix(f"{prefix}.").split(".")[0]
                if other in floors and other != own and floors.index(other) > floors.index(own):
                    found.append(f"{file.relative_to(folder)} -> {name}")
    return found


@pytest.mark.parametrize(
    ("folder", "prefix", "floors"),
    [(PACKAGE, "mmssl_dynamic", FLOORS), (PACKAGE / "models", "mmssl_dynamic.models", MODEL_FLOORS)],
    ids=["package", "models"],
)
def test_no_import_points_up(folder, prefix, floors):
    assert upward(folder, prefix, floors) == []


def test_detection_alone_imports_mmdet():
    outside = [str(file) for file in modules() if "detection" not in file.parts and file.name != "detection.py"]
    assert [file for file in outside if any(name.split(".")[0] == "mmdet" for name in imports(Path(file)))] == []


def test_an_import_that_points_up_is_found(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.py").write_text("def f():\n    from mmssl_dynamic.engine import Runner\n")
    monkeypatch.setattr("tests.test_architecture.PACKAGE", tmp_path)
    assert upward(tmp_path, "mmssl_dynamic", FLOORS) == ["models/net.py -> mmssl_dynamic.engine.Runner"]
