"""The table of the small-scale study says what the files of its runs say."""

import importlib
import subprocess
import sys

import pytest
import torch

from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.writing import write_json


@pytest.fixture
def modules(repo_root, monkeypatch):
    """tools/studies as its scripts import each other."""
    monkeypatch.syspath_prepend(str(repo_root / "tools" / "studies"))
    names = ("sdr_variants", "sdr_study", "sdr_table")
    yield [importlib.import_module(name) for name in names]
    for name in names:
        sys.modules.pop(name)


def write_run(folder, variant, tasks, offset):
    """Results of one training: with task i, the full network has 10 i + offset percent, others so much more."""
    for i, task in enumerate(tasks):
        full = 10.0 * i + offset
        scores = [dict(network="full", score=full + 5)]
        if variant.paths:
            record = dict(
                subnets=[
                    dict(name="0-0-0-1", test_accuracy=full + 1, params=70),
                    dict(name="0-0-0-0", test_accuracy=full + 3, params=70),
                ],
                full=dict(name="full", test_accuracy=full, params=100),
                best="0-0-0-1",  # on the training images
            )
            write_json(folder / "routing" / task / "routing.json", record)
            scores.append(dict(network="0-0-0-1", score=full + 8))
        else:
            write_json(folder / "knn" / task / "results.json", dict(networks=[dict(name="net", top1=full, params=80)]))
        write_json(folder / "transfer" / task / "results.json", dict(scores=scores))
    (folder / "epoch_5.pth").write_bytes(b"weights")


def table(repo_root, study, doc):
    command = [sys.executable, str(repo_root / "tools/studies/sdr_table.py"), str(study), "--doc", str(doc)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_table_holds_means_over_tasks_and_seeds(modules, repo_root, tmp_path):
    variants, _, _ = modules
    study, doc = tmp_path / "study", tmp_path / "doc.md"
    simsiam, sdr = variants.VARIANTS[:2]
    write_run(study / "seed0" / simsiam.name, simsiam, variants.TASKS, 0)
    write_run(study / "seed1" / simsiam.name, simsiam, variants.TASKS, 2)
    write_run(study / "seed0" / sdr.name, sdr, variants.TASKS, 4)
    (study / "commands.sh").write_text("python tools/train.py\n")
    doc.write_text("Before.\n<!-- results -->\nold\n<!-- /results -->\nAfter.\n")
    finished = table(repo_root, study, doc)
    assert finished.returncode == 0, finished.stderr
    assert f"missing: {sdr.name}, seed 1" in finished.stdout
    lines = doc.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("Before.", "After.")
    assert "old" not in lines
    # six tasks at 0, 10, ... 50: 25 on average, plus the offsets
    assert f"| {simsiam.label} | 80 | 26.00 (25.00 to 27.00) |  |  | 31.00 (30.00 to 32.00) |  |" in lines
    row = "29.00 (29.00 to 29.00) | 30.00 (30.00 to 30.00) | 32.00 (32.00 to 32.00)"
    assert f"| {sdr.label} | 70 | {row} | 34.00 (34.00 to 34.00) | 37.00 (37.00 to 37.00) |" in lines
    assert f"| {sdr.label} | 0 | 5.0 | 15.0 | 25.0 | 35.0 | 45.0 | 55.0 |" in lines
    assert (doc.with_suffix("") / "knn.png").stat().st_size > 1000
    hashes = read_json(doc.with_suffix("") / "files.json", "hashes")
    assert f"seed0/{sdr.name}/epoch_5.pth" in hashes
    assert all(len(value) == 64 for value in hashes.values())


def test_what_is_pruned_does_not_count(modules, tmp_path):
    _, _, table = modules
    weight = torch.ones(2, 3, 3, 3)
    weight[0] = 0
    state = {"backbone.conv1.weight": weight, "backbone.bn1.bias": torch.zeros(2), "neck.fc.weight": torch.zeros(2, 2)}
    torch.save({"state_dict": state}, tmp_path / "epoch_1.pth")
    assert table.pruned_weights(tmp_path) == 27


def test_a_document_without_the_marks_is_refused(modules, repo_root, tmp_path):
    (tmp_path / "doc.md").write_text("nothing\n")
    finished = table(repo_root, tmp_path, tmp_path / "doc.md")
    assert finished.returncode == 2
    assert "<!-- results -->" in finished.stderr
    assert (tmp_path / "doc.md").read_text() == "nothing\n"


def test_every_variant_has_its_config_and_its_split(modules):
    variants, _, _ = modules
    splits = {split.name for split in variants.SPLITS}
    for variant in variants.VARIANTS:
        assert (variants.CONFIGS / variant.config).is_file()
        assert variant.clusters is None or variant.clusters in splits
        assert variant.needs is None or variant.needs in {other.name for other in variants.VARIANTS}
    assert len({variant.name for variant in variants.VARIANTS}) == len(variants.VARIANTS)


def test_the_study_writes_its_commands_and_does_nothing_twice(modules, repo_root, tmp_path, monkeypatch):
    _, study, _ = modules
    calls = []

    def run(command, **_):
        calls.append(command)
        (tmp_path / "result.json").write_text("{}")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(study.subprocess, "run", run)
    step = study.Step("train.py", ("config.py", "--work-dir", str(tmp_path / "a b")), tmp_path / "result.json")
    for _ in range(2):
        study.perform(step, tmp_path, {str(tmp_path): "$OUT"})
    assert len(calls) == 1
    assert calls[0][1:] == ["tools/train.py", "config.py", "--work-dir", str(tmp_path / "a b")]
    assert (tmp_path / "commands.sh").read_text() == "python tools/train.py config.py --work-dir '$OUT/a b'\n"


def test_a_failed_step_is_named(modules, tmp_path):
    _, study, _ = modules
    step = study.Step("train.py", ("nowhere.py",), tmp_path / "result.json")
    with pytest.raises(study.ConfigError, match=r"'python tools/train.py nowhere.py' failed; see the end of"):
        study.perform(step, tmp_path, {})
