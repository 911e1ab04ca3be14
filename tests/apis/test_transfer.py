"""Transfer of a tiny super-network on real files: the right scores, kept results, nothing lost in a crash."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.errors import ConfigError, DataError, MissingStatisticsError
from mmssl_dynamic.evaluation import transfer_run
from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol, split_indices
from mmssl_dynamic.evaluation.transfer_result import TransferResult
from mmssl_dynamic.loading import build_backbone, load_backbone, load_config
from tests.apis import by_option
from tests.apis.by_option import transfer
from tests.downstream import transfer_files
from tests.helpers import randomise, write_images

CONFIG = """
model = dict(
    backbone=dict(
        type='mmssl_dynamic.SDRResNet', depth=18, stage_channels=(8, 8, 8, 16), stage_groups=(1, 1, 1, 2),
        stem_channels=8, zero_init_residual=False),
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.0] * 3, std=[50.0] * 3, to_rgb=True))
"""
NAMES = ["0-0-0-0", "0-0-0-1", "full"]
QUICK = ManyShotProtocol(wd_from=-2, wd_to=2, wd_count=5)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Config, checkpoint, bank, two data sets in folders of noisy images, and VOC."""
    root = tmp_path_factory.mktemp("transfer")
    for name, classes in (("one", 4), ("two", 3)):
        write_images(root / "data" / name / "train", 40, size=16, classes=classes)
        write_images(root / "data" / name / "test", 20, size=16, classes=classes, seed=1)
    transfer_files.voc2007(root / "voc")
    (root / "config.py").write_text(CONFIG)
    torch.manual_seed(0)
    net = randomise(build_backbone(load_config(root / "config.py")))
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, root / "epoch_1.pth")
    bank = BNBank.of(net)
    bank.path = {key: net.bn_statistics(key) for key in net.space.keys}
    bank.save(root / "bank.safetensors")
    return root


def run(work, out, datasets=("one", "two"), **options):
    given = {"data_root": work / "data", "bank": work / "bank.safetensors", "protocol": QUICK, "image_size": 16}
    options = {**given, "num_workers": 0, "device": "cpu", "progress": False, **options}
    return transfer(work / "config.py", work / "epoch_1.pth", out, datasets=datasets, **options)


def figures(result):
    return [(score.network, score.dataset, score.score, score.val_score, score.weight_decay) for score in result.scores]


def reference(work, network, dataset):
    """The protocol written out, with images, features and classifier of stock libraries alone."""
    net = load_backbone(load_config(work / "config.py"), work / "epoch_1.pth", "cpu")
    BNBank.load(work / "bank.safetensors").apply(net)
    parts = {}
    for part in ("train", "test"):
        files = sorted((work / "data" / dataset / part).rglob("*.png"))
        pixels = np.stack([np.asarray(Image.open(file), dtype=np.float32) for file in files])
        with torch.no_grad(), net.subnet(network):
            maps = net(torch.from_numpy((pixels - 127) / 50).permute(0, 3, 1, 2))[-1]
        parts[part] = maps.mean((2, 3)).double().numpy(), np.array([int(file.parent.name[-1]) for file in files])
    (x, y), test = parts["train"], parts["test"]
    val = split_indices(len(x))
    fit = np.setdiff1d(np.arange(len(x)), val)
    model, best, chosen = LogisticRegression(warm_start=True), 0.0, None
    for decay in QUICK.weight_decays:
        score = model.set_params(C=1 / decay).fit(x[fit], y[fit]).score(x[val], y[val])
        if score > best:
            best, chosen = score, decay
    model.set_params(C=1 / chosen).fit(x, y)
    return 100 * model.score(*test), 100 * best, chosen


def test_scores_are_those_of_the_protocol_written_out(work, tmp_path):
    result = run(work, tmp_path)
    assert [(score.network, score.dataset) for score in result.scores] == [
        (n, d) for n in NAMES for d in ("one", "two")
    ]
    for network, dataset, *found in figures(result):
        assert found == pytest.approx(reference(work, network, dataset)), (network, dataset)
    assert len({score.score for score in result.scores}) > 2
    assert TransferResult.load(tmp_path / "results.json") == result
    assert result.full == "full"
    assert result.networks["full"]["params"] > result.networks["0-0-0-0"]["params"]
    protocol = json.loads((tmp_path / "results.json").read_text())["protocol"]
    assert (protocol["wd_count"], protocol["max_iter"], protocol["tol"], protocol["solver"]) == (
        5,
        100,
        1e-4,
        "sklearn",
    )
    assert protocol["pipeline"][0]["interpolation"] == "bicubic"
    assert (protocol["image_size"], protocol["bn_statistics"]) == (16, "calibrated (path)")
    assert result.data["one"]["validation"] == {"images": 8, "from": "drawn: 0.2 of train, seed 0"}
    assert {f"{name}.{kind}" for name in ("scores", "gains") for kind in ("png", "svg")} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_a_crash_loses_no_more_than_one_network_on_one_data_set(work, tmp_path, monkeypatch):
    whole = run(work, tmp_path / "whole")
    search, calls = transfer_run.many_shot, []

    def failing(*args):
        calls.append(1)
        if len(calls) == 5:
            raise RuntimeError("the power failed")
        return search(*args)

    monkeypatch.setattr(transfer_run, "many_shot", failing)
    with pytest.raises(RuntimeError, match="power"):
        run(work, tmp_path / "stopped")
    assert not (tmp_path / "stopped/results.json").exists()
    result = run(work, tmp_path / "stopped")
    assert len(calls) == 5 + 2
    assert figures(result) == figures(whole)


def test_finished_results_are_taken_up_and_other_protocols_are_other_results(work, tmp_path, monkeypatch):
    first = run(work, tmp_path)

    def never(*args):
        raise AssertionError("fitted again")

    monkeypatch.setattr(transfer_run, "many_shot", never)
    assert run(work, tmp_path) == first
    assert run(work, tmp_path, ["two"], subnets=["full"]).score("full", "two") == first.score("full", "two")
    with pytest.raises(AssertionError, match="fitted again"):
        run(work, tmp_path, protocol=ManyShotProtocol(wd_from=-2, wd_to=2, wd_count=6))


def test_one_network_per_pass_and_without_keeping_features_gives_the_same(work, tmp_path):
    options = {"memory_gib": 1e-9, "keep_features": False}
    assert figures(run(work, tmp_path / "single", **options)) == figures(run(work, tmp_path / "together"))
    assert list((tmp_path / "single/features").iterdir()) == []
    assert len(list((tmp_path / "together/features").glob("*.npy"))) == 2 * 2 * 3


def test_images_with_several_classes_are_scored_by_mean_average_precision(work, tmp_path, monkeypatch):
    shown = by_option.read_all(["voc2007"], work / "voc")[0]
    data = {  # of its 20 classes the two that these images show
        part: {**listing, "labels": listing["labels"][:, :2], "classes": listing["classes"][:2]}
        for part, listing in shown.data.items()
    }
    assert len(data["val"]["images"]) == 2
    monkeypatch.setattr(by_option, "read_all", lambda names, root, steps: [replace(shown, data=data, pipeline=steps)])
    (score,) = run(work, tmp_path, ["voc2007"], subnets=["full"], image_size=8).scores
    assert score.metric == "map"
    assert score.metrics == {"map": score.score}


def test_an_ordinary_backbone_is_one_network(work, tmp_path):
    (tmp_path / "plain.py").write_text(
        CONFIG.replace("stage_groups=(1, 1, 1, 2),", "stage_groups=(1, 1, 1, 2), subnet='0-0-0-1',")
    )
    net = load_backbone(load_config(work / "config.py"), work / "epoch_1.pth", "cpu")
    BNBank.load(work / "bank.safetensors").apply(net)
    torch.save(net.static("0-0-0-1").state_dict(), tmp_path / "plain.pth")
    options = {"data_root": work / "data", "protocol": QUICK, "image_size": 16, "num_workers": 0, "progress": False}
    result = transfer(
        tmp_path / "plain.py", tmp_path / "plain.pth", tmp_path, datasets=["one"], device="cpu", **options
    )
    expected = run(work, tmp_path / "super", ["one"], subnets=["0-0-0-1"])
    assert (list(result.networks), result.full) == (["plain"], None)
    assert result.scores[0].score == expected.scores[0].score


def test_what_does_not_fit_is_refused_before_anything_is_written(work, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"data set dtd is not complete.*\n.*data set mine is none of"):
        run(work, out, ["one", "dtd", "mine"])
    with pytest.raises(MissingStatisticsError):
        run(work, out, bank=None)
    with pytest.raises(ConfigError, match="--image-size"):
        run(work, out, image_size=0)
    with pytest.raises(ConfigError, match="--memory-gib"):
        run(work, out, memory_gib=0)
    with pytest.raises(DataError, match="data set one.*cannot be split"):
        run(work, out, ["one"], protocol=ManyShotProtocol(val_fraction=0.01))
    assert not out.exists()
    with pytest.raises(DataError, match="data set voc2007: no training image shows class 2"):
        run(work, out, ["voc2007"], data_root=work / "voc")
    assert not out.exists()
    assert [score.dataset for score in run(work, out, ["found"], subnets=["full"]).scores] == ["one", "two"]
