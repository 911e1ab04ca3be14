"""Functions of ``apis`` can be called from a notebook: few parameters, and defaults for all but the essential ones."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path

import pytest

import mmssl_dynamic
from mmssl_dynamic import apis
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.execution import Execution

VERBS = ["calibrate", "cluster", "evaluate", "export", "extract_features", "prune", "route", "train", "transfer"]
NEEDED = {
    "calibrate": ["config", "checkpoint"],
    "cluster": ["features", "num_clusters"],
    "evaluate": ["config", "checkpoint", "task"],
    "export": ["config", "checkpoint", "out", "subnet"],
    "extract_features": ["config", "checkpoint", "out"],
    "get_model": [],
    "list_models": [],
    "prune": ["config", "checkpoint", "num_weights"],
    "route": ["config", "checkpoint", "tasks"],
    "train": ["config"],
    "transfer": ["config", "checkpoint", "tasks"],
}


def test_apis_offer_the_verbs_and_the_models():
    assert sorted(apis.__all__) == sorted([*VERBS, "get_model", "list_models"])


@pytest.mark.parametrize("name", apis.__all__)
def test_a_function_has_at_most_eight_parameters_and_defaults_for_all_but_the_essential_ones(name):
    parameters = inspect.signature(getattr(apis, name)).parameters.values()
    named = [entry for entry in parameters if entry.kind is not entry.VAR_KEYWORD]
    assert len(named) <= 8
    assert [entry.name for entry in named if entry.default is entry.empty] == NEEDED[name]


@pytest.mark.parametrize("name", [name for name in VERBS if name not in ("prune", "train")])
def test_how_a_verb_runs_is_one_value_and_the_same_for_all(name):
    assert inspect.signature(getattr(apis, name)).parameters["execution"].annotation == "Execution | None"


def long_signatures(limit):
    """Functions of the package with more parameters than ``limit``, ``self`` left out."""
    package, found = Path(mmssl_dynamic.__file__).parent, []
    for file in sorted(package.rglob("*.py")):
        if ".mim" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                names = [entry.arg for entry in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                if len([name for name in names if name not in ("self", "cls")]) > limit:
                    found.append(f"{file.relative_to(package)}: {node.name}({', '.join(names)})")
    return found


def test_no_public_function_of_apis_has_more_than_eight_parameters():
    of_apis = [entry for entry in long_signatures(8) if entry.startswith("apis/")]
    assert [entry for entry in of_apis if not entry.split(": ")[1].startswith("_")] == []


def test_no_function_of_the_package_has_more_than_ten_parameters():
    assert long_signatures(10) == []
    assert long_signatures(9) != []  # so that the search finds something at all


def test_an_execution_fills_in_what_was_left_out_and_nothing_else():
    given = Execution("cpu", workers=0, progress=False)
    filled = Execution.of(given, batch_size=200, workers=2)
    assert dataclasses.asdict(filled) == {**dataclasses.asdict(given), "batch_size": 200}
    assert Execution.of(None, workers=2).loading == (64, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(batch_size=0), "--batch-size 0 must be at least 1"),
        (dict(workers=-1), "--workers -1 must be at least 0"),
        (dict(memory_gib=0), "--memory-gib 0 must be positive"),
        (dict(image_memory_gib=-1), "--image-memory-gib -1 must be at least 0"),
    ],
)
def test_an_execution_that_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Execution(**options)


def test_several_processes_are_refused_by_verbs_that_run_in_one():
    with pytest.raises(ConfigError, match="--launcher pytorch: this verb runs in one process"):
        Execution.of(Execution(launcher="pytorch"))
    assert Execution.of(Execution(launcher="pytorch"), launcher=True).launcher == "pytorch"


def test_one_task_in_place_of_a_list_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"tasks is a list: give tasks=\['data/pets'\]"):
        apis.route("config.py", tmp_path / "epoch_1.pth", tasks="data/pets")
