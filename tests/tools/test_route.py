"""tools/route.py: one task or many, the fast ways, the report, and going on where it stopped."""

import html
import json

import numpy as np
import pytest
import torch

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.fileio import load_state_dict, weights_fingerprint
from mmssl_dynamic.models import StaticResNet
from mmssl_dynamic.routing import KNNRouter, RoutingResult
from tests.tools.running import CONFIG, paint, tool

K = ("--k", 5, "--workers", 0, "--batch-size", 8)


@pytest.mark.parametrize("bn", ["path", "prefix"])
def test_route_ranks_writes_draws_and_exports(work, bank, repo_root, tmp_path, capsys, bn):
    common = (work / "config.py", work / "epoch_1.pth")
    options = f"--k 5 --bn {bn} --workers 0 --batch-size 8 --format torchvision".split()
    tool(repo_root, "route", *common, "--bank", bank, "--data-root", work / "pets", "--out", tmp_path, *options)
    result = RoutingResult.load(tmp_path / "routing.json")
    assert result.task == "pets"
    assert len(result.subnets) == 4
    assert result.cost["stage_runs"] == {"path": 20, "prefix": 4 + 1 + 1 + 2 + 4}[bn]
    name = f"backbone_{result.best.name}_torchvision.pth"
    figures = [
        f"{figure}.{kind}" for figure in ("gains_histogram", "gains_by_task", "heatmap") for kind in ("png", "svg")
    ]
    files = [*figures, "report.html", "routing.json", "kept", name, f"{name}.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    sidecar = json.loads((tmp_path / f"{name}.json").read_text())
    assert sidecar["bn"] == bn
    assert sidecar["source"]["routed_for"] == "pets"
    printed = capsys.readouterr().out
    assert "test images were not used for the choice" in printed
    assert "read it back into torchvision's ResNet" in printed
    assert printed.count("\n   ") >= 4

    # The winner again, from the result alone.
    tool(
        repo_root,
        "export",
        *common,
        "--routing",
        tmp_path / "routing.json",
        "--format",
        "mmdet",
        "--out",
        tmp_path / "w.pth",
    )
    again, before = load_state_dict(tmp_path / "w.pth"), load_state_dict(tmp_path / name)
    assert again.keys() == before.keys()
    assert all(torch.equal(again[key], before[key]) for key in again)


def test_route_takes_data_sets_from_a_config_and_some_sub_networks(work, bank, repo_root, tmp_path):
    data = [f"{p} = dict(type='CustomDataset', data_root='{work}/pets/{p}')" for p in ("train", "test")]
    (tmp_path / "pets_config.py").write_text("\n".join(data))
    arguments = [
        "--dataset-config",
        tmp_path / "pets_config.py",
        "--out",
        tmp_path / "out",
        "--subnets",
        "0-0-1-0,full",
    ]
    tool(repo_root, "route", work / "config.py", work / "epoch_1.pth", "--bank", bank, *arguments, "--workers", "0")
    result = RoutingResult.load(tmp_path / "out" / "routing.json")
    assert result.task == "pets_config"
    assert {score.name for score in result.subnets} == {"0-0-1-0", "full"}


@pytest.fixture(scope="module")
def birds(work):
    """A second task."""
    for part in ("train", "test"):
        for index, label in enumerate(("crow", "wren")):
            paint(work / "birds" / part / label, 8, 90 + 40 * index, 7 + index + len(part))
    return work / "birds"


def test_several_tasks_share_a_report_and_finished_ones_are_kept(
    work, bank, birds, repo_root, tmp_path, capsys, monkeypatch
):
    roots = ("--data-root", work / "pets", "--data-root", birds)
    command = ("route", work / "config.py", work / "epoch_1.pth", "--bank", bank, *roots, "--out", tmp_path, *K)
    calls = []
    original = KNNRouter.route
    monkeypatch.setattr(KNNRouter, "route", lambda *args: calls.append(args[-1]) or original(*args))
    tool(repo_root, *command, "--clusters", work / "clusters.npz")
    assert calls == ["pets", "birds"]
    first = [RoutingResult.load(tmp_path / task / "routing.json") for task in calls]
    page = (tmp_path / "report.html").read_text()
    for result in first:
        assert f"Task: {result.task}" in page
        weights = tmp_path / result.task / f"backbone_{result.best.name}_mmpretrain.pth"
        assert weights.is_file()
        assert f"checkpoint='{weights}'" in html.unescape(page)  # in what loads it
    assert "What the chosen sub-networks were trained on" in page
    assert "route.py" in page
    assert (tmp_path / "chosen_clusters.png").is_file()
    assert "birds\n" in capsys.readouterr().out

    (kept,) = (tmp_path / "birds" / "kept").glob("routing-*.json")
    kept.unlink()  # as if it had been stopped there
    tool(repo_root, *command, "--clusters", work / "clusters.npz")
    assert calls == ["pets", "birds", "birds"]
    tool(repo_root, *command, "--clusters", work / "clusters.npz", "--vote", "majority")
    assert calls[3:] == ["pets", "birds"]


def test_fast_ways_name_their_regret(work, bank, repo_root, tmp_path, capsys):
    common = ("route", work / "config.py", work / "epoch_1.pth", "--bank", bank, "--data-root", work / "pets", *K)
    tool(repo_root, *common, "--out", tmp_path / "all")
    reference = RoutingResult.load(tmp_path / "all" / "routing.json")
    fast = (*common, "--reference", tmp_path / "all" / "routing.json")
    tool(
        repo_root, *fast, "--method", "halving", "--finalists", 2, "--factor", 2, "--least-images", 8,
        "--out", tmp_path / "halving",
    )  # fmt: skip
    result = RoutingResult.load(tmp_path / "halving" / "routing.json")
    assert (len(result.subnets), len(result.dropped)) == (2, 2)
    assert f"regret {result.regret(reference):.2f}" in capsys.readouterr().out

    base = StaticResNet(18, (8, 8, 8, 8), 5)
    torch.save({f"backbone.{key}": value for key, value in base.state_dict().items()}, tmp_path / "base.pth")
    plain = CONFIG.replace("{root}", str(work)).replace("SDRResNet", "StaticResNet")
    plain = plain.replace("stage_channels=(8, 8, 12, 12), stage_groups=(1, 1, 2, 2),", "stage_channels=(8, 8, 8, 8),")
    (tmp_path / "base.py").write_text(plain)
    meta = {"weights_fingerprint": weights_fingerprint(base.state_dict())}
    centroids = np.eye(4, 8, dtype=np.float32)
    names = [f"{i:02d}.png" for i in range(24)]
    Clusters(names, np.arange(24) % 4, 4, "sinkhorn", centroids, meta=meta).save(tmp_path / "clusters.npz")
    tool(
        repo_root, *fast, "--method", "cluster", "--candidates", 1, "--clusters", tmp_path / "clusters.npz",
        "--base-config", tmp_path / "base.py", "--base-checkpoint", tmp_path / "base.pth",
        "--out", tmp_path / "cluster",
    )  # fmt: skip
    result = RoutingResult.load(tmp_path / "cluster" / "routing.json")
    assert (len(result.subnets), len(result.dropped)) == (1, 3)
    assert result.subnets == [score for score in reference.subnets if score.name == result.best.name]
    assert f"regret {result.regret(reference):.2f}" in capsys.readouterr().out


def test_what_does_not_fit_is_refused_before_anything_is_written(work, bank, birds, refused, tmp_path):
    common = (work / "config.py", work / "epoch_1.pth", "--bank", bank, "--out", tmp_path / "out", *K)
    assert "give --data-root or --dataset-config" in refused("route", *common)
    twice = ("--data-root", work / "pets", "--data-root", work / "pets")
    assert "two tasks are called 'pets'" in refused("route", *common, *twice)
    pets = (*common, "--data-root", work / "pets")
    assert "--method cluster needs --clusters" in refused("route", *pets, "--method", "cluster")
    missing = ("--method", "cluster", "--clusters", work / "clusters.npz")
    assert "needs --base-config" in refused("route", *pets, *missing)
    assert "--factor 1 must be" in refused("route", *pets, "--method", "halving", "--factor", 1)
    assert "does not exist" in refused("route", *pets, "--reference", tmp_path / "none.json")
    assert not list(tmp_path.iterdir())


def test_a_score_of_a_users_own_module_ranks(work, bank, repo_root, tmp_path, capsys, monkeypatch):
    """Named in custom_imports, as any module that extends a config; nothing of the package changes for it."""
    from mmssl_dynamic.registry import SCORES

    (tmp_path / "my_scores.py").write_text(
        "from mmssl_dynamic.registry import SCORES\n"
        "from mmssl_dynamic.routing import Score, Scored\n"
        "@SCORES.register_module('quietest')\n"
        "class Quietest(Score):\n"
        "    def __call__(self, features, labels):\n"
        "        return Scored(-float(features.mean()))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = (work / "config.py").read_text() + "custom_imports = dict(imports=['my_scores'])\n"
    (tmp_path / "config.py").write_text(text)
    common = ("route", tmp_path / "config.py", work / "epoch_1.pth", "--bank", bank, "--data-root", work / "pets")
    try:
        tool(repo_root, *common, "--out", tmp_path / "out", "--score", "quietest", *K)
    finally:
        SCORES.module_dict.pop("quietest", None)
    result = RoutingResult.load(tmp_path / "out" / "routing.json")
    values = [score.score for score in result.subnets]
    assert values == sorted(values, reverse=True)
    assert max(values) < 0
    assert "chosen by quietest on train" in capsys.readouterr().out


def test_options_that_have_no_effect_are_refused(work, bank, refused, tmp_path):
    common = (work / "config.py", work / "epoch_1.pth", "--out", tmp_path / "out")
    pets = (*common, "--data-root", work / "pets")
    for given, where in (
        (("--iters", 5), "--task classification"),
        (("--ap", "masks"), "--task classification"),
        (("--candidates", 3), "--method knn"),
        (("--finalists", 3), "--method knn"),
        (("--method", "cluster", "--factor", 2), "--method cluster"),
        (("--method", "halving", "--candidates", 2), "--method halving"),
    ):
        if "cluster" in given:
            base = ("--clusters", work / "clusters.npz", "--base-config", work / "config.py")
            given = (*given, *base, "--base-checkpoint", work / "epoch_1.pth")
        assert f"has no effect with {where}; leave it out" in refused("route", *pets, *given)
    detection = (*common, "--task", "detection", "--det-config", work / "config.py")
    for given, message in (
        (("--reference", work / "config.py"), "--reference has no effect with --task detection"),
        (("--method", "cluster"), "--method cluster has no effect; leave it out, or give --shortlist cluster"),
        (("--k", 5), "--k has no effect with all candidates"),
        (("--shortlist", "random", "--candidates", 2, "--knn", "sdr"), "--knn has no effect with --shortlist random"),
        (("--factor", 2), "--factor has no effect with candidates that are all trained to the end"),
        (("--shortlist", "cluster", "--candidates", 2), "--shortlist cluster needs --clusters"),
        (("--candidates", "none"), "must be a whole number"),
    ):
        assert message in refused("route", *detection, *given)
    assert "--base-options edits the config of --base-config" in refused("route", *pets, "--base-options", "a=1")
    assert not list(tmp_path.iterdir())


def test_the_papers_classifiers_go_by_name_and_the_result_says_which(work, bank, repo_root, tmp_path, capsys):
    common = ("route", work / "config.py", work / "epoch_1.pth", "--data-root", work / "pets", "--workers", 0)
    for options, name, k, vote in (
        ((), "sdr", 200, "weighted"),
        (("--knn", "dspnet"), "dspnet", 20, "majority"),
        (("--knn", "dspnet", "--k", 3), "own", 3, "majority"),
    ):
        tool(repo_root, *common, "--out", tmp_path / name, *options)
        protocol = RoutingResult.load(tmp_path / name / "routing.json").protocol
        assert (protocol["name"], protocol["k"], protocol["vote"]) == (name, k, vote)
        assert f"kNN protocol {name}: {k} neighbours, " in capsys.readouterr().out
