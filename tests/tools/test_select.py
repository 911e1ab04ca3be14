"""From a routed super-network to the network for a device: export, latency and select as commands."""

import json
import shutil
import sys

import pytest
import torch

from mmssl_dynamic import cli
from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.commands.main import main
from mmssl_dynamic.export.load_export import load_export
from mmssl_dynamic.routing import RoutingResult
from mmssl_dynamic.selection import DeviceTable, Measurement, read_results
from mmssl_dynamic.selection.device_table import Conditions
from tests.tools.running import tool

SMALL = ("--repeats", 3, "--warm-up", 1, "--no-progress")


@pytest.fixture(scope="module")
def routed(work, bank, repo_root, tmp_path_factory):
    """Folder of a routing result."""
    out = tmp_path_factory.mktemp("select") / "routing"
    common = (work / "config.py", work / "epoch_1.pth", "--bank", bank, "--data-root", work / "pets")
    tool(repo_root, "route", *common, "--k", 5, "--out", out, "--workers", 0)
    return out


@pytest.fixture(scope="module")
def exports(work, bank, repo_root, routed):
    """Folder of all sub-networks."""
    out = routed.parent / "exports"
    common = (work / "config.py", work / "epoch_1.pth", "--bank", bank)
    tool(repo_root, "export", *common, "--all", "--format", "torchvision", "--out", out)
    return out


def run(*arguments):
    before, sys.argv = sys.argv, ["mmssl-dynamic", *map(str, arguments)]
    try:
        cli.run(main)
    finally:
        sys.argv = before


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_from_exports_to_latencies_to_the_network_within_a_budget(routed, exports, tmp_path, capsys):
    table_file = tmp_path / "laptop.json"
    run("latency", *sorted(exports.glob("backbone_0-*.pth")), "--out", table_file, *SMALL)
    table = DeviceTable.load(table_file)
    result = RoutingResult.load(routed / "routing.json")
    assert {entry.subnet for entry in table.entries} == {score.name for score in result.subnets} - {"full"}
    assert all(entry.low_ms <= entry.latency_ms <= entry.high_ms for entry in table.entries)
    assert {entry.source_weights_fingerprint for entry in table.entries} == {result.weights_fingerprint}
    assert (table.conditions.threads, table.conditions.image_size) == (1, (32, 32))
    capsys.readouterr()

    limit = max(entry.latency_ms for entry in table.entries) * 1.001
    out = tmp_path / "chosen"
    options = ("--max-latency", f"{limit}ms", "--device-table", table_file, "--export", "torchvision", "--out", out)
    run("select", routed, *options)
    shown = capsys.readouterr().out
    record = json.loads((out / "select.json").read_text())
    (choice,) = record["choices"]
    within = [s for s in result.subnets if s.name in {e.subnet for e in table.entries}]
    assert choice["chosen"]["choice"] == max(s.select_accuracy for s in within)
    assert not choice["chosen"]["latency_estimated"]
    (full,) = [c for c in choice["candidates"] if c["name"] == "full"]
    assert full["latency_estimated"]  # nobody measured it
    assert full["latency_ms"] > 0
    assert f"pets: {choice['chosen']['name']}, " in shown
    assert "chosen by: kNN accuracy (leave-one-out on train)" in shown
    assert "note: " not in shown  # the file is run by what was measured
    assert f"exported: {choice['export']}, and how to load it in " in shown
    assert (out / "budget_pets.png").stat().st_size > 5000
    net, reference = (
        load_export(choice["export"]),
        load_export(exports / f"backbone_{choice['chosen']['name']}_torchvision.pth"),
    )
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net(images)[0], reference(images)[0])


def test_an_export_for_another_runtime_than_the_measured_one_is_noted(routed, tmp_path, capsys):
    (score, *_) = RoutingResult.load(routed / "routing.json").subnets
    table = DeviceTable(Conditions("laptop", "onnxruntime 1.32.0 INT8"), [Measurement(score.name, 3.0)])
    table.save(tmp_path / "t.json")
    out = tmp_path / "out"
    run("select", routed, "--device-table", tmp_path / "t.json", "--export", "torchvision", "--out", out)
    assert "note: --export torchvision is run by torch in float32, which was not measured" in capsys.readouterr().out


def test_latencies_are_kept_under_equal_conditions_and_refused_under_others(exports, tmp_path, capsys):
    first, *_, last = sorted(exports.glob("*.pth"))
    table_file = tmp_path / "t.json"
    run("latency", first, "--out", table_file, *SMALL)
    kept = DeviceTable.load(table_file).entries
    run("latency", first, last, last, "--out", table_file, *SMALL)
    entries = DeviceTable.load(table_file).entries
    assert entries[0] == kept[0]
    assert len(entries) == 2
    message = refused(capsys, "latency", first, "--out", table_file, *SMALL, "--batch-size", 2)
    assert "was measured otherwise" in message
    assert "give another --out, or --again" in message
    assert DeviceTable.load(table_file).entries == entries
    run("latency", first, "--out", table_file, *SMALL, "--batch-size", 2, "--again")
    assert len(DeviceTable.load(table_file).entries) == 1


def test_a_budget_of_route_is_that_of_select(work, bank, repo_root, routed, tmp_path, capsys):
    common = (work / "config.py", work / "epoch_1.pth", "--bank", bank, "--data-root", work / "pets")
    smallest = min(c.cost.params for c in read_results(routed)[0].candidates)
    budget = ("--max-params", smallest, "--format", "torchvision")
    tool(repo_root, "route", *common, "--k", 5, "--out", tmp_path / "r", "--workers", 0, *budget)
    shown = capsys.readouterr().out
    (choice,) = json.loads((tmp_path / "r" / "budget" / "select.json").read_text())["choices"]
    assert choice["chosen"]["params"] == smallest
    assert f"pets: {choice['chosen']['name']}, " in shown.split("within the budget, at most")[1]
    assert f"exported: {choice['export']}" in shown
    assert load_export(choice["export"]) is not None


@pytest.mark.parametrize("verb", ["route", "evaluate", "transfer"])
def test_a_network_is_exported_with_the_options_that_its_result_was_found_with(
    verb, work, bank, repo_root, tmp_path, capsys
):
    (tmp_path / "wider.py").write_text((work / "config.py").read_text().replace("stem_channels=5", "stem_channels=9"))
    shutil.copytree(work / "pets", tmp_path / "data/animals")
    given = (tmp_path / "wider.py", work / "epoch_1.pth", "--bank", bank, "--workers", 0)
    few = {
        "route": ("--data-root", tmp_path / "data/animals", "--k", 5),
        "evaluate": ("--data-root", tmp_path / "data/animals", "--k", 5, "--subnets", "0-0-0-1"),
        "transfer": ("--data-root", tmp_path / "data", "--datasets", "animals", "--subnets", "0-0-0-1"),
    }[verb]
    tool(repo_root, verb, *given, *few, "--out", tmp_path / verb, "--cfg-options", "model.backbone.stem_channels=5")
    capsys.readouterr()
    run("select", tmp_path / verb, "--export", "torchvision", "--out", tmp_path / "chosen")
    (choice,) = json.loads((tmp_path / "chosen/select.json").read_text())["choices"]
    assert choice["cfg_options"] == {"model.backbone.stem_channels": 5}
    assert load_export(choice["export"]).conv1.out_channels == 5


def test_a_network_is_exported_with_the_statistics_that_each_result_was_found_with(
    work, bank, repo_root, tmp_path, capsys
):
    shutil.copytree(work / "pets", tmp_path / "data/animals")
    given = (work / "config.py", work / "epoch_1.pth", "--bank", bank, "--workers", 0, "--subnets", "0-0-0-1")
    folder = ("--data-root", tmp_path / "data/animals", "--k", 5)
    found = {
        "evaluate": (*folder, "--bn", "prefix"),
        "route": (*folder, "--bn", "path"),
        "transfer": ("--data-root", tmp_path / "data", "--datasets", "animals", "--bn", "prefix"),
    }
    for verb, options in found.items():
        tool(repo_root, verb, *given, *options, "--out", tmp_path / verb)
    few = ("--max-params", read_results(tmp_path / "evaluate")[0].candidates[0].cost.params)
    run("select", *(tmp_path / verb for verb in found), *few, "--export", "torchvision", "--out", tmp_path / "chosen")
    choices = json.loads((tmp_path / "chosen/select.json").read_text())["choices"]
    statistics = BNBank.load(bank)
    own = {"path": statistics.path["0-0-0-1"], "prefix": statistics.prefix["stem"]}
    assert not torch.equal(own["path"]["bn1"][0], own["prefix"]["bn1"][0])
    for choice, kind in zip(choices, ("prefix", "path", "prefix"), strict=True):
        assert choice["chosen"]["name"] == "0-0-0-1"
        assert torch.equal(load_export(choice["export"]).bn1.running_mean, own[kind]["bn1"][0])
    assert len({choice["export"] for choice in choices}) == 2


def test_a_bank_that_was_written_anew_is_not_exported_for_what_was_measured(work, bank, repo_root, tmp_path, capsys):
    shutil.copytree(work / "pets", tmp_path / "data/animals")
    file, name = tmp_path / "bank.safetensors", "0-0-0-1"
    shutil.copyfile(bank, file)
    given = (work / "config.py", work / "epoch_1.pth", "--bank", file, "--workers", 0, "--subnets", name)
    folder = ("--data-root", tmp_path / "data/animals", "--k", 5)
    found = {
        "evaluate": (*folder, "--bn", "prefix"),
        "route": folder,
        "transfer": ("--data-root", tmp_path / "data", "--datasets", "animals"),
    }
    for verb, options in found.items():
        tool(repo_root, verb, *given, *options, "--out", tmp_path / verb)
    statistics = BNBank.load(file)
    for own in (statistics.path[name], *statistics.prefix.values()):
        own.update({layer: (mean, 1.25 * var) for layer, (mean, var) in own.items()})
    statistics.save(file)
    capsys.readouterr()
    few = ("--max-params", read_results(tmp_path / "evaluate")[0].candidates[0].cost.params)
    into = (*few, "--export", "torchvision", "--out", tmp_path / "chosen")
    for verb in found:
        message = refused(capsys, "select", tmp_path / verb, *into)
        assert f"BN bank {file} holds other BatchNorm statistics of {name} than " in message
        assert f"{tmp_path / verb}" in message
        assert "compute the result anew, or export by hand with `mmssl-dynamic export`." in message
    assert not list((tmp_path / "chosen").glob("backbone*"))

    shutil.copytree(tmp_path / "route", tmp_path / "before")
    tool(repo_root, "route", *given, *folder, "--out", tmp_path / "route")
    run("select", tmp_path / "route", *into)
    (choice,) = json.loads((tmp_path / "chosen/select.json").read_text())["choices"]
    assert torch.equal(load_export(choice["export"]).bn1.running_var, statistics.path[name]["bn1"][1])
    # Each of two results is looked at, whatever files both name.
    message = refused(capsys, "select", tmp_path / "before", tmp_path / "route", *into)
    assert f"{tmp_path / 'before/routing.json'} was measured with" in message
    record = json.loads((tmp_path / "route/routing.json").read_text())
    (tmp_path / "route/routing.json").write_text(json.dumps({**record, "statistics": {}}))
    message = refused(capsys, "select", tmp_path / "route", *into)
    assert f"does not tell the BatchNorm statistics that {name} had; compute the result anew" in message


def test_a_checkpoint_with_other_statistics_of_its_own_is_not_exported_for_what_was_measured(
    work, bank, repo_root, tmp_path, capsys
):
    checkpoint = tmp_path / "epoch_1.pth"
    shutil.copyfile(work / "epoch_1.pth", checkpoint)
    tool(
        repo_root, "evaluate", work / "config.py", checkpoint, "--data-root", work / "pets", "--k", 5, "--subnets",
        "full", "--workers", 0, "--out", tmp_path / "evaluation",
    )  # fmt: skip
    held = torch.load(checkpoint, weights_only=True)
    held["state_dict"]["backbone.bn1.running_var"] *= 2
    torch.save(held, checkpoint)
    into = ("--export", "torchvision", "--out", tmp_path / "chosen")
    message = refused(capsys, "select", tmp_path / "evaluation", *into)
    assert f"checkpoint {checkpoint} holds other BatchNorm statistics of full than " in message


def test_what_a_checkpoint_holds_by_now_is_not_exported_for_what_was_measured(work, bank, routed, tmp_path, capsys):
    shutil.copytree(routed, tmp_path / "r")
    checkpoint = torch.load(work / "epoch_1.pth", weights_only=True)
    checkpoint["state_dict"]["backbone.conv1.weight"] *= 1.5
    torch.save(checkpoint, tmp_path / "epoch_1.pth")
    record = json.loads((tmp_path / "r/routing.json").read_text())
    (tmp_path / "r/routing.json").write_text(json.dumps({**record, "checkpoint": str(tmp_path / "epoch_1.pth")}))
    message = refused(capsys, "select", tmp_path / "r", "--export", "torchvision", "--out", tmp_path / "chosen")
    assert f"computed with other weights than {tmp_path / 'epoch_1.pth'} holds now" in message
    assert not list((tmp_path / "chosen").glob("backbone*"))


def test_a_folder_with_a_result_is_that_result_and_not_what_lies_in_its_folders(routed, tmp_path):
    shutil.copytree(routed, tmp_path / "r")
    (tmp_path / "r" / "earlier").mkdir()
    shutil.copy(routed / "routing.json", tmp_path / "r" / "earlier")
    assert [task.source for task in read_results(tmp_path / "r")] == [str(tmp_path / "r" / "routing.json")]
    (tmp_path / "r" / "routing.json").unlink()
    assert [task.source for task in read_results(tmp_path / "r")] == [str(tmp_path / "r" / "earlier" / "routing.json")]


def test_nothing_within_the_budget_is_said_and_no_error(routed, capsys):
    run("select", routed, "--max-macs", "1k")
    shown = capsys.readouterr().out
    assert "pets: none fits at most 0.001 M multiply-accumulates: the smallest, " in shown


def test_what_cannot_be_is_refused_in_a_sentence(routed, exports, tmp_path, capsys):
    assert "--max-latency needs --device-table FILE" in refused(capsys, "select", routed, "--max-latency", "5ms")
    assert "--max-latency 5 must be a number above 0" in refused(capsys, "select", routed, "--max-latency", "5")
    assert "--export needs a folder" in refused(capsys, "select", routed, "--export", "timm")
    assert "holds no routing.json or results.json" in refused(capsys, "select", tmp_path)
    assert "holds no export with its sidecar" in refused(capsys, "latency", tmp_path, "--out", tmp_path / "t.json")
    missing = tmp_path / "missing.pth"
    assert f"{missing} does not exist" in refused(capsys, "latency", missing, "--out", tmp_path / "t.json")
    (tmp_path / "routing.json").write_text("{}")
    assert "is no result of `route`, `evaluate` or `transfer`" in refused(capsys, "select", tmp_path / "routing.json")
