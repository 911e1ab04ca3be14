"""A ranking is kept as long as nothing has changed that it depends on, and not a moment longer."""

import json
import os
import shutil
from importlib import import_module

import numpy as np
import pytest
import torch

from mmssl_dynamic import result_cache
from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.evaluation import KNNProtocol
from mmssl_dynamic.fileio import load_state_dict, weights_fingerprint
from mmssl_dynamic.loading import build_backbone, load_config
from mmssl_dynamic.models import StaticResNet
from mmssl_dynamic.result_cache import Computation
from mmssl_dynamic.routing import Router, RoutingResult
from mmssl_dynamic.routing.method import RoutingMethod
from tests.apis.by_option import export, route
from tests.helpers import randomise, touch
from tests.tools.running import CONFIG, paint

PATHS = 4


def save_networks(root, seed=0, scale=1.0):
    """Checkpoint and bank of a super-network whose statistics all matter."""
    torch.manual_seed(seed)
    net = randomise(build_backbone(load_config(root / "config.py")))
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, root / "epoch_1.pth")
    bank = BNBank.of(net)
    bank.path = {key: net.bn_statistics(key) for key in net.space.keys}
    bank.path = {k: {n: (mean, scale * var) for n, (mean, var) in s.items()} for k, s in bank.path.items()}
    bank.save(root / "bank.safetensors")


def save_base(root, seed=0):
    """A network whose features were clustered, its config, and clusters with prototypes."""
    torch.manual_seed(seed)
    base = StaticResNet(18, (8, 8, 8, 8), 5)
    torch.save({f"backbone.{key}": value for key, value in base.state_dict().items()}, root / "base.pth")
    plain = CONFIG.replace("SDRResNet", "StaticResNet")
    plain = plain.replace("stage_channels=(8, 8, 12, 12), stage_groups=(1, 1, 2, 2),", "stage_channels=(8, 8, 8, 8),")
    (root / "base.py").write_text(plain)
    meta = {"weights_fingerprint": weights_fingerprint(base.state_dict())}
    centroids = np.eye(PATHS, 8, dtype=np.float32)
    names = [f"{i:02d}.png" for i in range(24)]
    Clusters(names, np.arange(24) % 4, PATHS, "sinkhorn", centroids, meta=meta).save(root / "clusters.npz")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Everything that a routing needs, and the folder of one that is finished."""
    root = tmp_path_factory.mktemp("finished")
    for part, count in (("train", 10), ("test", 5)):
        for index, label in enumerate(("cat", "dog")):
            paint(root / "pets" / part / label, count, 110 + 25 * index, index + len(part))
    (root / "config.py").write_text(CONFIG)
    save_networks(root)
    save_base(root)
    run(root)
    run(root, method=cluster_method(root))
    return root


@pytest.fixture
def work(finished, tmp_path, monkeypatch):
    """A copy of it with the times of the files, and the tasks that are routed from now on."""
    root = tmp_path / "work"
    shutil.copytree(finished, root)
    for name in ("save_figure", "write_routing_report"):  # seconds of drawing that decide nothing
        monkeypatch.setattr(import_module("mmssl_dynamic.apis.route"), name, lambda *_, **__: None)
    return root


@pytest.fixture
def routed(monkeypatch):
    found = []
    original = Router.result
    monkeypatch.setattr(
        Router, "result", lambda self, task, *a, **k: found.append(task) or original(self, task, *a, **k)
    )
    return found


def cluster_method(root, **options):
    base = load_config(root / "base.py", options.pop("base_options", None))
    files = root / "clusters.npz", base, root / "base.pth"
    return RoutingMethod("cluster", *files, candidates=2, **options)


def run(root, task="pets", **options):
    given = dict(protocol=KNNProtocol(k=5), batch_size=8, num_workers=0, device="cpu", progress=False)
    files = (root / "config.py", root / "epoch_1.pth", root / "bank.safetensors", root / "out")
    ((result, report),) = route(*files, data_roots=[root / task], **{**given, **options})
    return result, report


def first_image(root):
    return root / "pets/test/cat/00.png"


def touched(root):
    touch(first_image(root))


def one_more(root):
    shutil.copy2(first_image(root), root / "pets/test/cat/99.png")


def relabelled(root):
    first_image(root).rename(root / "pets/test/dog/99.png")


def other_base(root):
    save_base(root, seed=1)


def other_clusters(root):
    clusters = Clusters.load(root / "clusters.npz")
    meta = clusters.meta
    Clusters(clusters.names, clusters.assignment, PATHS, "sinkhorn", clusters.centroids[::-1], meta=meta).save(
        root / "clusters.npz"
    )


def renamed(root):
    (root / "pets").rename(root / "animals")
    return dict(task="animals")


CHANGES = {
    "weights": lambda root: save_networks(root, seed=1),
    "bank": lambda root: save_networks(root, scale=4.0),
    "image": touched,
    "more images": one_more,
    "label": relabelled,
    "task of another name": renamed,
    "image size": lambda root: dict(cfg_options={"eval_pipeline.1.crop_size": 24}),
    "pipeline": lambda root: dict(cfg_options={"eval_pipeline.0.bits": 12}),
    "normalisation": lambda root: dict(cfg_options={"model.data_preprocessor.std": [60.0, 50.0, 50.0]}),
    "k": lambda root: dict(protocol=KNNProtocol(k=4)),
    "vote": lambda root: dict(protocol=KNNProtocol(k=5, vote="majority")),
    "temperature": lambda root: dict(protocol=KNNProtocol(k=5, temperature=0.5)),
    "method": lambda root: dict(method=RoutingMethod("halving", finalists=2, factor=2, least_images=8)),
    "sub-networks": lambda root: dict(subnets=["0-0-0-1", "0-0-1-0"]),
    "score": lambda root: dict(method=RoutingMethod(score="ncm")),
    "again": lambda root: dict(again=True),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_the_task_is_routed_again(work, routed, change):
    options = change(work) or {}
    result, _ = run(work, **options)
    assert routed == [result.task]
    assert RoutingResult.load(work / "out/routing.json") == result


CLUSTER_CHANGES = {
    "clusters": other_clusters,
    "base network": other_base,
    "architecture of the base network": lambda root: dict(
        base_options={"model.backbone.norm_cfg": dict(type="BN", eps=0.1)}
    ),
    "bank": CHANGES["bank"],
    "image": touched,
}


@pytest.mark.parametrize("change", CLUSTER_CHANGES.values(), ids=CLUSTER_CHANGES)
def test_routing_by_clusters_depends_on_clusters_and_base_network_too(work, routed, change):
    run(work, method=cluster_method(work))
    assert routed == []
    options = change(work) or {}
    run(work, method=cluster_method(work, **options))
    assert routed == ["pets"]


def test_a_new_version_of_the_computation_makes_all_that_was_kept_void(work, routed, monkeypatch):
    version, depends_on = result_cache.COMPUTATIONS["routing"]
    monkeypatch.setitem(result_cache.COMPUTATIONS, "routing", Computation(version + 1, depends_on))
    run(work)
    assert routed == ["pets"]


def test_without_a_change_the_ranking_is_kept_bit_by_bit_wherever_it_lies(work, finished, routed, capsys):
    first = RoutingResult.load(finished / "out/routing.json")
    for options in ({}, dict(batch_size=3, num_workers=1, memory_gib=0.001)):
        result, _ = run(work, method=cluster_method(work), progress=True, **options)
        assert (result.record() | {"bank": 0, "checkpoint": 0, "config": 0}) == (
            first.record() | {"bank": 0, "checkpoint": 0, "config": 0}
        )
        assert result.bank == str(work / "bank.safetensors")
    assert routed == []
    lines = [line for line in capsys.readouterr().out.splitlines() if "kept from" in line]
    assert len(lines) == 2
    assert lines[0].startswith("pets: the ranking is kept from 20")
    assert "its inputs are unchanged: task, sub-networks, method, clusters, weights, BN statistics, " in lines[0]


def test_what_has_changed_is_said(work, routed, capsys):
    touched(work)
    run(work, method=cluster_method(work), progress=True)
    assert "pets: ranked anew, for other images than the last time" in capsys.readouterr().out


def test_a_change_that_is_taken_back_finds_the_first_ranking_again(work, routed):
    stat = first_image(work).stat()
    touched(work)
    run(work)
    os.utime(first_image(work), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    run(work)
    assert routed == ["pets"]


@pytest.mark.parametrize("text", ["", '{"schema_version": 1, "res', '{"schema_version": 1}', "[]"])
def test_a_ranking_that_is_damaged_is_made_anew_and_said(work, routed, text):
    for file in (work / "out/kept").iterdir():
        file.write_text(text)
    (work / "out/routing.json").write_text(text)
    with pytest.warns(UserWarning, match="is damaged .* computed anew"):
        result, _ = run(work)
    assert routed == ["pets"]
    assert RoutingResult.load(work / "out/routing.json") == result


def test_the_winner_is_exported_with_the_statistics_that_it_was_ranked_with(work):
    first, report = run(work)
    before = load_state_dict(report.path)
    save_networks(work, scale=4.0)
    second, report = run(work)
    statistics = BNBank.load(work / "bank.safetensors").statistics(second.best.name)
    state = load_state_dict(report.path)
    for layer, (_, var) in statistics.items():
        assert torch.equal(state[f"backbone.{layer}.running_var"], var)
        if first.best.name == second.best.name:
            assert not torch.equal(before[f"backbone.{layer}.running_var"], var)


def test_ranking_and_export_carry_the_fingerprints(work):
    result, report = run(work, method=cluster_method(work))
    written = json.loads((work / "out/routing.json").read_text())["inputs"]
    assert written == result.inputs
    assert written["weights"] == BNBank.load(work / "bank.safetensors").fingerprint
    assert written["clusters"]["clusters"] == Clusters.load(work / "clusters.npz").fingerprint
    assert set(written["images"]) == {"train", "test"}
    sidecar = json.loads(report.sidecar.read_text())
    assert sidecar["ranking"] == {
        name: written[name] for name in ("weights", "BN statistics", "clusters", "images", "normalisation")
    }
    assert sidecar["statistics_fingerprint"] not in (None, written["BN statistics"])


def test_export_refuses_a_bank_that_is_not_the_ranked_one(work, tmp_path):
    run(work)
    files, bank = (work / "config.py", work / "epoch_1.pth"), work / "bank.safetensors"

    def exported(**options):
        return export(*files, tmp_path / "winner.pth", routing=work / "out/routing.json", device="cpu", **options)

    assert exported().path.is_file()
    (tmp_path / "winner.pth").unlink()
    shutil.copy(bank, work / "copy.safetensors")
    exported(bank=work / "copy.safetensors")  # the same statistics in another file
    (tmp_path / "winner.pth").unlink()

    shutil.copy(bank, work / "ranked.safetensors")
    save_networks(work, scale=4.0)
    with pytest.raises(
        ArtifactError, match=r"BN bank .*bank.safetensors is not what .* statistics .* differ.*route again with it"
    ):
        exported()  # the file that it names holds another bank now
    bank.rename(work / "other.safetensors")
    with pytest.raises(
        ArtifactError, match=r"other.safetensors is not what .*give .*/bank.safetensors, or route again"
    ):
        exported(bank=work / "other.safetensors")
    assert not (tmp_path / "winner.pth").exists()
    exported(bank=work / "ranked.safetensors")


def test_export_refuses_other_statistics_of_the_ranked_bank(work, tmp_path):
    run(work)
    with pytest.raises(ArtifactError, match="was ranked with --bn path, not prefix; leave --bn out"):
        export(
            work / "config.py", work / "epoch_1.pth", tmp_path / "w.pth",
            routing=work / "out/routing.json", bn="prefix", device="cpu",
        )  # fmt: skip
    assert not (tmp_path / "w.pth").exists()
