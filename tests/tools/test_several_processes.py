"""Every verb in two processes writes what it writes in one; one that is killed ends the other in a sentence."""

import json
import os
import signal
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import mmssl_dynamic.apis.evaluate
import mmssl_dynamic.apis.route
import mmssl_dynamic.apis.transfer  # noqa: F401
from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.image_folder import ImageFolder
from mmssl_dynamic.engine.hooks import BNBankHook
from mmssl_dynamic.evaluation import transfer_run
from mmssl_dynamic.features import extract as extracting
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.loading import load_super_network
from mmssl_dynamic.models import StaticResNet
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.routing import KNNRouter
from tests.processes import run_together
from tests.tools.running import CONFIG, paint, tool

QUICK = ("--workers", 0, "--batch-size", 4, "--no-progress")
# In groups of a single sub-network, so that images are gone through again and again.
LITTLE = ("--memory-gib", 1e-7)


@pytest.fixture(scope="module")
def base(work, tmp_path_factory):
    """Config and checkpoint of a plain network, and clusters of its features."""
    root = tmp_path_factory.mktemp("base")
    torch.manual_seed(3)
    net = StaticResNet(18, (8, 8, 8, 8), 5)
    torch.save({f"backbone.{key}": value for key, value in net.state_dict().items()}, root / "base.pth")
    plain = CONFIG.replace("{root}", str(work)).replace("SDRResNet", "StaticResNet")
    plain = plain.replace("stage_channels=(8, 8, 12, 12), stage_groups=(1, 1, 2, 2),", "stage_channels=(8, 8, 8, 8),")
    (root / "base.py").write_text(plain)
    centroids = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    meta = {"weights_fingerprint": weights_fingerprint(net.state_dict())}
    names = [f"{i:02d}.png" for i in range(24)]
    Clusters(names, np.arange(24) % 4, 4, "sinkhorn", centroids, meta=meta).save(root / "clusters.npz")
    return root


@pytest.fixture(scope="module")
def transfer(work, bank, repo_root, tmp_path_factory):
    """Runs a transfer of three networks to two data sets of unequal size into a folder."""
    data = tmp_path_factory.mktemp("data")
    for part in ("train", "test"):
        for index, label in enumerate(("owl", "tit", "jay")):
            paint(data / "birds" / part / label, 8, 110 + 15 * index, index + len(part))
    (data / "pets").symlink_to(work / "pets")
    command = ("transfer", work / "config.py", work / "epoch_1.pth", "--bank", bank, "--data-root", data)
    command = (*command, "--datasets", "pets,birds", "--subnets", "0-0-0-1,0-0-1-0,full", "--image-size", 32, *QUICK)

    def write(out, *options):
        tool(repo_root, *command, "--patience", 4, "--out", out, *options)

    return write


@pytest.fixture(scope="module")
def verbs(work, bank, base, repo_root, transfer):
    """Runs all verbs into a folder."""
    run = (work / "config.py", work / "epoch_1.pth")
    cluster = ("--base-config", base / "base.py", "--base-checkpoint", base / "base.pth", "--candidates", 2)
    methods = {
        "knn": ("--bn", "prefix", *LITTLE),
        "halving": ("--method", "halving", "--finalists", 2, "--factor", 2, "--least-images", 8),
        "cluster": ("--method", "cluster", "--clusters", base / "clusters.npz", *cluster),
    }
    pets = ("--data-root", work / "pets", "--k", 5, *QUICK)

    def write(out, *launcher):
        tool(repo_root, "extract_features", *run, "--out", out / "F.npy", *QUICK, *launcher)
        clusters = ("--num-clusters", 2, "--epochs", 1, "--no-montage", "--out", out / "clusters.npz", "--no-progress")
        tool(repo_root, "cluster", out / "F.npy", *clusters, *launcher)
        tool(repo_root, "calibrate_bn", *run, "--out", out, *QUICK, "--images", 10, *launcher)
        for name, options in methods.items():
            tool(repo_root, "route", *run, *pets, "--bank", bank, "--out", out / name, *options, *launcher)
        few = ("--subnets", "0-0-0-1,0-0-1-0", "--latency-repeats", 0, "--memory-gib", 1e-6)  # features on disk
        tool(repo_root, "evaluate", *run, *pets, "--bank", bank, "--out", out / "evaluation", *few, *launcher)
        transfer(out / "transfer", "--memory-gib", 1e-6, *launcher)  # one network at a time

    return write


@pytest.fixture(scope="module")
def ends(verbs, work, tmp_path_factory):
    """What one process and what two processes wrote, and what the two said; without pictures and pages."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")

    def body(rank):
        verbs(two, "--launcher", "pytorch")
        end_of_training(work, two)

    with pytest.MonkeyPatch.context() as patch:
        shown = [
            ("route", "write_routing_report"),
            *((verb, "save_figure") for verb in ("route", "evaluate", "transfer")),
        ]
        for module, name in shown:
            patch.setattr(sys.modules[f"mmssl_dynamic.apis.{module}"], name, lambda *_: None)
        verbs(one)
        return one, two, run_together(body, tmp_path_factory.mktemp("pair"))


def end_of_training(work, out):
    cfg, net = load_super_network(work / "config.py", work / "epoch_1.pth", "cpu")
    (out / "training").mkdir(exist_ok=True)
    runner = SimpleNamespace(
        model=SimpleNamespace(backbone=net),
        cfg=cfg,
        work_dir=str(out / "training"),
        seed=0,
        logger=SimpleNamespace(info=lambda text: None),
        train_dataloader=SimpleNamespace(dataset=SimpleNamespace(clusters=Clusters.load(work / "clusters.npz"))),
        _randomness_cfg={},
    )
    BNBankHook(images=10, batch_size=4).after_train(runner)


def record(path):
    """What a result says, but for how long it took."""
    found = json.loads(path.read_text())
    entries = found.get("scores") or found.get("networks", ())
    for entry in (found, found.get("cost", {}), *entries):
        for name in ("seconds", "digest", "computed"):
            entry.pop(name, None)
    return found


def test_both_processes_end_well_and_the_first_one_alone_speaks(ends):
    first, second = ends[2]
    assert (first.status, second.status) == (0, 0), first.errors + second.errors
    assert "rank  sub-network" in first.output
    assert second.output == ""
    assert second.errors == ""


def test_features_are_the_same_to_the_last_bit(ends):
    one, two, _ = ends
    assert (one / "F.npy").read_bytes() == (two / "F.npy").read_bytes()
    assert record(one / "F.json") == record(two / "F.json")


def test_clusters_are_the_same(ends):
    one, two, _ = ends
    left, right = (Clusters.load(folder / "clusters.npz") for folder in (one, two))
    assert left.assignment.tolist() == right.assignment.tolist()
    assert left.sizes.min() > 0
    np.testing.assert_allclose(left.centroids, right.centroids, rtol=0, atol=1e-5)


def test_statistics_are_the_same_to_the_last_bit(ends):
    one, two, _ = ends
    assert (one / "bn_bank.safetensors").read_bytes() == (two / "bn_bank.safetensors").read_bytes()
    bank, trained = (BNBank.load(folder / "bn_bank.safetensors") for folder in (one, two / "training"))
    assert bank.path.keys() == trained.path.keys()
    for kind in ("path", "prefix"):
        for name, statistics in getattr(bank, kind).items():
            for layer, pair in statistics.items():
                assert all(map(torch.equal, pair, getattr(trained, kind)[name][layer]))


@pytest.mark.parametrize("method", ["knn", "halving", "cluster"])
def test_rankings_are_the_same_to_the_last_bit(ends, method):
    one, two, _ = ends
    left, right = (record(folder / method / "routing.json") for folder in (one, two))
    decodes = [found["cost"].pop("decodes_per_image") for found in (left, right)]
    assert left == right
    assert method == "cluster" or len({score["select_accuracy"] for score in left["subnets"]}) > 1
    # A round of the halving has images that another process decoded for the round before.
    assert decodes[0] == 1.0
    assert decodes[1] == 1.0 or method == "halving"
    kept = [sorted(path.name for path in (folder / method / "kept").iterdir()) for folder in (one, two)]
    assert kept[0] == kept[1]  # baselines, too
    assert len(kept[0]) >= 2


def test_accuracies_of_networks_are_the_same(ends):
    one, two, _ = ends
    left, right = (record(folder / "evaluation" / "results.json") for folder in (one, two))
    assert left == right
    assert len(left["networks"]) == 2
    assert not list((two / "evaluation").rglob("*.npy"))


def test_scores_of_a_transfer_are_the_same_to_the_last_bit(ends):
    one, two, _ = ends
    left, right = (record(folder / "transfer" / "results.json") for folder in (one, two))
    assert left == right
    assert len(left["scores"]) == 6
    features = sorted(path.name for path in (one / "transfer/features").glob("*.npy"))
    assert len(features) == 2 * 6
    assert all(
        (one / "transfer/features" / f).read_bytes() == (two / "transfer/features" / f).read_bytes() for f in features
    )


def test_a_killed_transfer_keeps_the_scores_of_all_processes_and_one_process_goes_on(ends, transfer, tmp_path):
    search = transfer_run.many_shot

    def body(rank):
        searches = []

        def many_shot(*arguments):
            searches.append(arguments)
            if rank == 1 and len(searches) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return search(*arguments)

        transfer_run.many_shot = many_shot
        transfer(tmp_path / "out", "--launcher", "pytorch")

    first, second = run_together(body, tmp_path / "pair")
    assert (first.status, second.status) == (2, -signal.SIGKILL)
    assert len(first.errors.splitlines()) == 1
    assert len(list((tmp_path / "out/networks").iterdir())) == 3 + 1
    searches = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer_run, "many_shot", lambda *arguments: searches.append(arguments) or search(*arguments))
        patch.setattr(sys.modules["mmssl_dynamic.apis.transfer"], "save_figure", lambda *_: None)
        transfer(tmp_path / "out", "--discard-features")
    assert len(searches) == 2
    assert record(tmp_path / "out/results.json") == record(ends[0] / "transfer/results.json")


def test_without_memory_for_images_every_pass_decodes_them_again(work, bank, repo_root, tmp_path):
    pets = ("--data-root", work / "pets", "--bank", bank, "--k", 5, *QUICK, *LITTLE)
    common = ("route", work / "config.py", work / "epoch_1.pth", *pets, "--out", tmp_path)
    tool(repo_root, *common, "--image-memory-gib", 0)
    cost = record(tmp_path / "routing.json")["cost"]
    assert cost["decodes_per_image"] == 5  # four paths and the full network


def test_a_killed_process_ends_the_other_in_a_sentence_and_another_number_goes_on(ends, work, repo_root, tmp_path):
    one = ends[0]
    command = ("extract_features", work / "config.py", work / "epoch_1.pth", "--out", tmp_path / "F.npy")
    command = (*command, "--workers", 0, "--batch-size", 1, "--no-progress")

    def body(rank):
        batches, pool = [], extracting.pool

        def pooled(maps):
            batches.append(maps)
            if rank == 1 and len(batches) == 10:  # in the second turn
                os.kill(os.getpid(), signal.SIGKILL)
            return pool(maps)

        extracting.pool = pooled
        tool(repo_root, *command, "--launcher", "pytorch")

    first, second = run_together(body, tmp_path / "pair")
    assert second.status == -signal.SIGKILL
    assert first.status == 2
    (sentence,) = first.errors.splitlines()
    assert sentence.startswith("error: another one of the 2 processes has ended")
    assert json.loads((tmp_path / "F.npy.progress.json").read_text())["rows_done"] == 16

    read = []
    original = ImageFolder.__getitem__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageFolder, "__getitem__", lambda self, index: read.append(index) or original(self, index))
        tool(repo_root, *command)
    assert read == list(range(16, 24))
    np.testing.assert_allclose(np.load(tmp_path / "F.npy"), np.load(one / "F.npy"), rtol=1e-4, atol=1e-5)


def test_more_processes_than_batches_leave_some_idle(tmp_path):
    """Seven processes share three batches of five images."""
    from tests.routing.toy import PROTOCOL, calibrated, split, super_network

    net = super_network()
    bank = calibrated(net)
    from mmssl_dynamic.downstream import Splits

    splits = Splits(split(12, 0, 6), split(5, 1, 5))
    alone = KNNRouter(net, bank, protocol=PROTOCOL, progress=False).route(splits)

    def body(rank):
        found = KNNRouter(net, bank, protocol=PROTOCOL, progress=False, processes=Processes.now()).route(splits)
        assert (found.subnets, found.full) == (alone.subnets, alone.full)

    assert [ended.status for ended in run_together(body, tmp_path, 3)] == [0, 0, 0]
