"""Commands run in a process that worked with mmdet before, such as a notebook, and leave mmdet's scope to it."""

import json

import pytest
import torch
from mmengine.registry import DefaultScope

from mmssl_dynamic.apis.zoo import get_model
from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.features.feature_file import Features
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.routing import RoutingResult
from tests.tools.running import tool


def run_all(repo_root, work, out):
    """Figures of each command on a tiny SDR run."""
    common, loader = (work / "config.py", work / "epoch_1.pth"), ("--workers", 0)
    task = ("--data-root", work / "pets")
    tool(repo_root, "extract_features", *common, "--out", out / "F.npy", *loader)
    tool(repo_root, "cluster", out / "F.npy", "--num-clusters", 2, "--epochs", 2, "--out", out / "clusters.npz")
    tool(repo_root, "calibrate_bn", *common, "--out", out, "--images", 6, *loader)
    bank = ("--bank", out / "bn_bank.safetensors")
    tool(repo_root, "route", *common, *bank, *task, "--k", 5, "--format", "mmdet", "--out", out / "routing", *loader)
    evaluate = (*common, *bank, *task, "--subnets", "0-0-1-0", "--latency-repeats", 0, "--image-size", 32, *loader)
    tool(repo_root, "evaluate", *evaluate, "--k", 3, "--out", out / "knn")
    linear = ("--protocol", "linear", "--batch-size", 10, "--protocol-options", "max_epochs=1", "--out", out / "linear")
    tool(repo_root, "evaluate", *evaluate, *linear)
    tool(repo_root, "export", *common, "--subnet", "0-0-0-1", *bank, "--format", "torchvision", "--out", out / "tv.pth")
    transfer = ("--data-root", work, "--datasets", "pets", "--subnets", "0-0-1-0", "--image-size", 32, *loader)
    tool(repo_root, "transfer", *common, *bank, *transfer, "--out", out / "transfer")
    tool(repo_root, "prune", *common, "--num-weights", 9000, "--out", out, device=())
    routing = RoutingResult.load(out / "routing" / "routing.json")
    model = get_model(pretrained=out / "routing" / f"backbone_{routing.best.name}_mmdet.pth")
    results = [json.loads((out / kind / "results.json").read_text())["networks"][0] for kind in ("knn", "linear")]
    tensors = {
        "features": torch.from_numpy(Features.load(out / "F.npy").rows),
        "bank": BNBank.load(out / "bn_bank.safetensors").path["0-0-1-0"]["bn1"][0],
        "clusters": torch.from_numpy(Clusters.load(out / "clusters.npz").assignment),
        "accuracy": torch.tensor(json.loads((out / "transfer" / "results.json").read_text())["scores"][0]["val_score"]),
        **load_state_dict(out / "tv.pth"),
        **{f"pruned.{key}": tensor for key, tensor in load_state_dict(out / "pruned.pth").items()},
        **{f"model.{key}": tensor for key, tensor in model.state_dict().items()},
    }
    return [(s.name, s.select_accuracy) for s in routing.subnets], [(r["top1"], r["top5"]) for r in results], tensors


@pytest.mark.parametrize("scope", ["mmpretrain", "mmdet"])
def test_commands_find_the_same_under_any_default_scope_and_leave_it_as_it_was(work, repo_root, tmp_path, scope, plain):
    if scope == "mmdet":
        pytest.importorskip("mmdet")
    DefaultScope.get_instance("notebook", scope_name=scope)
    (tmp_path / scope).mkdir()
    ranking, scores, tensors = run_all(repo_root, work, tmp_path / scope)
    assert DefaultScope.get_current_instance().scope_name == scope
    assert (ranking, scores) == plain[:2]
    assert tensors.keys() == plain[2].keys()
    assert all(torch.equal(tensor, plain[2][key]) for key, tensor in tensors.items())


@pytest.fixture(scope="module")
def plain(work, repo_root, tmp_path_factory):
    """The same in a process without a default scope."""
    found = run_all(repo_root, work, tmp_path_factory.mktemp("plain"))
    assert DefaultScope.get_current_instance() is None
    return found
