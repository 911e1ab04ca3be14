"""Evaluations of tiny networks on real files: accuracy, frozen backbones, resuming, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import EpochBasedTrainLoop
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from mmssl_dynamic.calibration import BNBank, calibrate_path
from mmssl_dynamic.downstream.label_subsets import LabelSubset
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError, MissingStatisticsError, SubnetError
from mmssl_dynamic.evaluation import KNNProtocol
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult
from mmssl_dynamic.evaluation.nearest_neighbours import NearestNeighbours
from mmssl_dynamic.evaluation.probing import TrainedProtocol
from mmssl_dynamic.fileio import load_run_checkpoint, load_state_dict, weights_fingerprint
from mmssl_dynamic.loading import build_backbone, load_backbone, load_config
from tests.apis.by_option import evaluate
from tests.helpers import randomise, write_images

CONFIG = """
eval_pipeline = [dict(type='mmssl_dynamic.LoadImage'), dict(type='PackInputs')]
model = dict(
    backbone=dict(
        type='mmssl_dynamic.SlimmableResNet', channels=[[8, 8, 8, 8], [16, 16, 16, 16]], blocks=[[1, 1, 1, 1]],
        zero_init_residual=False, norm_cfg=dict(type='SyncBN')),
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.0] * 3, std=[50.0] * 3, to_rgb=True))
"""
SMALL, LARGE = "w0.033333-d1111", "w0.066667-d1111"
CLASSES = 6
KNN = KNNProtocol(k=3, vote="majority")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Config, checkpoint, bank and images; the checkpoint alone has no statistics of the smaller network."""
    root = tmp_path_factory.mktemp("evaluating")
    write_images(root / "data/train", 48, size=16, classes=CLASSES)
    write_images(root / "data/val", 18, size=16, classes=CLASSES, seed=1)
    (root / "config.py").write_text(CONFIG)
    torch.manual_seed(0)
    net = build_backbone(load_config(root / "config.py"))
    randomise(net)
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, root / "epoch_1.pth")
    bank = BNBank.of(net)
    bank.path = {key: net.bn_statistics(key) for key in net.space.keys}
    bank.save(root / "bank.safetensors")
    return root


def run(work, out, protocol=KNN, **options):
    options = {
        "bank": work / "bank.safetensors",
        "data_root": work / "data",
        "num_workers": 0,
        "latency_repeats": 2,
        "device": "cpu",
        "progress": False,
        **options,
    }
    if isinstance(protocol, TrainedProtocol):
        options = {"image_size": 16, "batch_size": 16, **options}
    return evaluate(work / "config.py", work / "epoch_1.pth", out, protocol=protocol, **options)


def linear(epochs=2, **options):
    return TrainedProtocol("linear", cfg_options={"max_epochs": epochs, **options})


def semisup(mode="finetune", labels=None, **options):
    return TrainedProtocol(
        "semisup", mode=mode, labels=labels or LabelSubset(0.5), cfg_options={"max_epochs": 2, **options}
    )


def folder_of(out, name):
    (folder,) = (path for path in (out / "networks").glob(f"{name}-*") if path.is_dir())
    return folder


def accuracies(result):
    return [(network.name, network.top1, network.top5, network.params, network.macs) for network in result.networks]


def reference(work, name):
    """Features and labels of both parts, computed without the package's loading and pooling."""
    net = load_backbone(load_config(work / "config.py"), work / "epoch_1.pth", "cpu")
    BNBank.load(work / "bank.safetensors").apply(net)
    found = {}
    for part in ("train", "val"):
        files = sorted((work / "data" / part).rglob("*.png"))
        pixels = np.stack([np.asarray(Image.open(file), dtype=np.float32) for file in files])
        images = torch.from_numpy((pixels - 127) / 50).permute(0, 3, 1, 2)
        with torch.no_grad(), net.subnet(name):
            features = net(images)[-1].mean((2, 3)).numpy()
        found[part] = features, [int(file.parent.name[-1]) for file in files]
    return found


def test_knn_is_that_of_scikit_learn_on_normalised_features(work, tmp_path):
    result = run(work, tmp_path)
    assert [network.name for network in result.networks] == [SMALL, LARGE]
    for network in result.networks:
        parts = reference(work, network.name)
        (bank, labels), (queries, truth) = (
            (x / np.linalg.norm(x, axis=1, keepdims=True), y) for x, y in (parts["train"], parts["val"])
        )
        expected = 100 * KNeighborsClassifier(3, algorithm="brute").fit(bank, labels).score(queries, truth)
        assert network.top1 == pytest.approx(expected)
        assert 100 / CLASSES < network.top1 < 100  # an accuracy that a mistake would change
        assert network.top5 is None


def test_knn_of_features_that_do_not_fit_into_memory_is_the_same(work, tmp_path):
    expected = accuracies(run(work, tmp_path / "memory"))
    for backend in ("torch", "faiss"):
        protocol = KNNProtocol(3, vote="majority", backend=backend, memory_gib=1e-6)
        result = run(work, tmp_path / backend, protocol)
        assert accuracies(result) == expected
        assert result.protocol["backend"] == backend
        assert not [path for path in (tmp_path / backend / "networks").iterdir() if path.is_dir()]


def test_files_hold_the_whole_protocol_and_show_every_network(work, tmp_path):
    result = run(work, tmp_path, KNNProtocol(k=500))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "accuracy_cost.png",
        "accuracy_cost.svg",
        "networks",
        "results.json",
    ]
    assert EvaluationResult.load(tmp_path / "results.json") == result
    protocol = json.loads((tmp_path / "results.json").read_text())["protocol"]
    assert (protocol["kind"], protocol["k"], protocol["k_used"], protocol["vote"]) == ("knn", 500, 48, "weighted")
    assert (protocol["temperature"], protocol["image_size"]) == (0.07, [16, 16])
    assert protocol["pipelines"]["test"][0]["type"] == "mmssl_dynamic.LoadImage"
    assert protocol["bn_statistics"] == "calibrated (path)"
    net = load_backbone(load_config(work / "config.py"), work / "epoch_1.pth", "cpu")
    assert result.weights_fingerprint == weights_fingerprint(net.state_dict())
    assert {"torch", "mmengine", "mmcv", "mmpretrain", "mmssl_dynamic", "python"} <= set(result.versions)
    assert (result.data["train"]["images"], result.data["test"]["images"]) == (48, 18)
    small, large = result.networks
    assert (small.params, large.params) == tuple(net.num_parameters(name) for name in (SMALL, LARGE))
    assert small.macs < large.macs
    assert small.latency.image_size == (16, 16)


def test_a_linear_probe_learns_and_leaves_every_bit_of_the_backbone(work, tmp_path):
    result = run(work, tmp_path, linear(epochs=12), subnets=[SMALL])
    folder = folder_of(tmp_path, SMALL)
    first, last = load_state_dict(folder / "backbone.pth"), load_state_dict(folder / "epoch_12.pth")
    trained = {key.removeprefix("backbone."): t for key, t in last.items() if key.startswith("backbone.")}
    assert trained.keys() == first.keys()
    assert all(torch.equal(trained[key], tensor) for key, tensor in first.items())
    for layer, (mean, var) in BNBank.load(work / "bank.safetensors").statistics(SMALL).items():
        assert torch.equal(first[f"{layer}.running_mean"], mean)
        assert torch.equal(first[f"{layer}.running_var"], var)
    assert result.networks[0].top1 > 2 * 100 / CLASSES
    assert result.networks[0].top1 <= result.networks[0].top5 <= 100
    assert result.protocol["lr"] == pytest.approx(0.2 * 16 / 256)
    assert (result.protocol["epochs"], result.protocol["batch_size"], result.protocol["seed"]) == (12, 16, 0)
    assert result.protocol["head"]["type"] == "mmssl_dynamic.LinearBNHead"


def test_fine_tuning_moves_the_backbone_at_a_rate_of_its_own(work, tmp_path):
    result = run(work, tmp_path, semisup(), subnets=[SMALL])
    folder = folder_of(tmp_path, SMALL)
    first, last = load_state_dict(folder / "backbone.pth"), load_state_dict(folder / "epoch_2.pth")
    still = [key for key, t in first.items() if t.is_floating_point() and torch.equal(last[f"backbone.{key}"], t)]
    assert not still
    groups = load_run_checkpoint(folder / "epoch_2.pth")["optimizer"]["param_groups"]
    assert {round(group["lr"], 9) for group in groups} == {0.001, 0.02}
    assert sum(group["lr"] < 0.01 for group in groups) == sum(1 for key in first if key.endswith(("weight", "bias")))
    assert not result.protocol["backbone_frozen"]


def test_semi_supervised_learning_uses_the_drawn_labels_alone(work, tmp_path):
    results = {
        seed: run(work, tmp_path / str(seed), semisup("frozen", LabelSubset(0.25, seed=seed)), subnets=[SMALL])
        for seed in (0, 1)
    }
    lists = []
    for seed, result in results.items():
        lines = (folder_of(tmp_path / str(seed), SMALL) / "labels.txt").read_text().splitlines()
        assert len(lines) == result.protocol["labels"]["images"] == 12
        for line in lines:
            image, label = line.rsplit(" ", 1)
            assert Path(image).is_file()
            assert Path(image).parent.name == f"class_{label}"
        assert sorted(line.rsplit(" ", 1)[1] for line in lines) == sorted("012345" * 2)
        lists.append(lines)
        assert result.protocol["backbone_frozen"]
        assert result.protocol["lr"] == 0.02
    assert lists[0] != lists[1]
    first, second = (result.protocol["labels"]["fingerprint"] for result in results.values())
    assert first != second


def test_a_list_of_images_decides_whose_labels_are_used(work, tmp_path):
    names = ["0000.png", "0001.png", "class_2/0008.png", "0009.png"]
    (tmp_path / "list.txt").write_text("\n".join(names))
    protocol = semisup("frozen", LabelSubset(file=tmp_path / "list.txt"))
    result = run(work, tmp_path / "out", protocol, subnets=[SMALL], batch_size=4)
    lines = (folder_of(tmp_path / "out", SMALL) / "labels.txt").read_text().splitlines()
    assert [Path(line.rsplit(" ", 1)[0]).name for line in lines] == ["0000.png", "0001.png", "0008.png", "0009.png"]
    assert result.protocol["labels"]["list"] == "list.txt"


def test_an_interrupted_evaluation_goes_on_and_ends_as_an_uninterrupted_one(work, tmp_path, monkeypatch):
    whole = run(work, tmp_path / "whole", linear(epochs=3))
    run_epoch, epochs = EpochBasedTrainLoop.run_epoch, []

    def stop_in_the_second_network(loop):
        if len(epochs) == 4:  # the first network's three epochs and one of the second's
            raise KeyboardInterrupt
        epochs.append(loop.epoch)
        run_epoch(loop)

    monkeypatch.setattr(EpochBasedTrainLoop, "run_epoch", stop_in_the_second_network)
    with pytest.raises(KeyboardInterrupt):
        run(work, tmp_path / "stopped", linear(epochs=3))
    assert not (tmp_path / "stopped/results.json").exists()
    epochs.clear()
    resumed = run(work, tmp_path / "stopped", linear(epochs=3))
    assert epochs == [1, 2]  # the first network is not trained again, nor the second one's first epoch
    assert accuracies(resumed) == accuracies(whole)
    ends = [load_state_dict(folder_of(tmp_path / name, LARGE) / "epoch_3.pth") for name in ("whole", "stopped")]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_nothing_that_is_finished_is_computed_again_and_whatever_changed_is(work, tmp_path, monkeypatch):
    evaluated = []
    original = NearestNeighbours.__call__

    def note(method, network, folder, label):
        evaluated.append(network.name)
        return original(method, network, folder, label)

    monkeypatch.setattr(NearestNeighbours, "__call__", note)
    first = run(work, tmp_path, subnets=[LARGE])
    run(work, tmp_path)
    assert evaluated == [LARGE, SMALL]
    assert run(work, tmp_path, latency_repeats=0, subnets=["full"]).networks == first.networks
    assert evaluated == [LARGE, SMALL]
    assert run(work, tmp_path, latency_batch=2).networks[0].latency.batch_size == 2  # timed anew, and only that
    assert evaluated == [LARGE, SMALL]

    run(work, tmp_path, KNNProtocol(k=4, vote="majority"), subnets=[SMALL])
    bank = BNBank.load(work / "bank.safetensors")
    bank.path[SMALL] = {layer: (mean, 2 * var) for layer, (mean, var) in bank.path[SMALL].items()}
    bank.save(tmp_path / "other.safetensors")
    run(work, tmp_path, bank=tmp_path / "other.safetensors", subnets=[SMALL])
    write_images(tmp_path / "data/train", 48, size=16, classes=CLASSES)
    write_images(tmp_path / "data/test", 24, size=16, classes=CLASSES, seed=1)
    run(work, tmp_path, data_root=tmp_path / "data", subnets=[SMALL])
    assert evaluated == [LARGE, SMALL] + 3 * [SMALL]


def test_an_ordinary_backbone_is_evaluated_under_the_name_of_its_config(work, tmp_path):
    (tmp_path / "byol_r18.py").write_text(
        "model = dict(backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8), "
        "data_preprocessor=dict(mean=[127.0] * 3, std=[50.0] * 3))"
    )
    torch.manual_seed(0)
    net = build_backbone(load_config(tmp_path / "byol_r18.py"))
    torch.save(net.state_dict(), tmp_path / "byol.pth")
    common = dict(data_root=work / "data", num_workers=0, latency_repeats=0, device="cpu", progress=False)
    files = tmp_path / "byol_r18.py", tmp_path / "byol.pth"
    plain = evaluate(*files, tmp_path / "knn", protocol=KNN, image_size=16, **common)
    assert [network.name for network in plain.networks] == ["byol_r18"]
    assert plain.networks[0].latency is None
    probed = evaluate(*files, tmp_path / "linear", protocol=linear(epochs=1), image_size=16, batch_size=16, **common)
    assert probed.networks[0].params == sum(p.numel() for p in net.parameters())
    # as a baseline beside the networks of a super-network
    run(work, tmp_path / "ours", KNN, image_size=16, baselines=[("BYOL", tmp_path / "knn/results.json")])
    assert "BYOL" in (tmp_path / "ours/accuracy_cost.svg").read_text()
    with pytest.raises(ConfigError, match="evaluated by 'linear' and cannot be compared with 'knn'"):
        run(work, tmp_path / "ours", KNN, baselines=[("BYOL", tmp_path / "linear/results.json")])


def test_data_sets_of_a_config_are_understood(work, tmp_path):
    parts = [
        f"{part} = dict(type='CustomDataset', data_root='{work}/data/{folder}')"
        for part, folder in (("train", "train"), ("test", "val"))
    ]
    (tmp_path / "blobs.py").write_text("\n".join(parts))
    options = dict(data_root=None, dataset_config=tmp_path / "blobs.py")
    by_config = run(work, tmp_path / "config", **options)
    assert by_config.data["name"] == "blobs"
    assert accuracies(by_config) == accuracies(run(work, tmp_path / "folder"))


def test_a_network_without_statistics_is_refused_before_anything_is_evaluated(work, tmp_path):
    with pytest.raises(MissingStatisticsError, match=f"statistics of sub-network '{SMALL}', and there is no"):
        run(work, tmp_path / "out", bank=None)
    assert not (tmp_path / "out").exists()


def test_statistics_in_the_checkpoint_need_no_bank(work, tmp_path):
    config = load_config(work / "config.py", {"model.backbone.switchable_bn": "statistics"})
    net = build_backbone(config)
    for name in net.subnets:
        net.set_bn_statistics(name, calibrate_path(net, name, [torch.randn(8, 3, 32, 32)]))
    torch.save(net.state_dict(), tmp_path / "switchable.pth")
    result = evaluate(
        work / "config.py",
        tmp_path / "switchable.pth",
        tmp_path / "out",
        protocol=KNN,
        data_root=work / "data",
        num_workers=0,
        latency_repeats=0,
        device="cpu",
        cfg_options={"model.backbone.switchable_bn": "statistics"},
        progress=False,
    )
    assert result.protocol["bn_statistics"] == "the checkpoint's"
    assert len(result.networks) == 2


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(subnets=["w0.9"]), SubnetError, "unknown sub-network 'w0.9'"),
        (dict(data_root="nowhere"), DataError, "data folder nowhere does not exist"),
        (dict(launcher="pytorch"), ConfigError, "needs torchrun"),
        (dict(protocol=linear(), launcher="pytorch"), ConfigError, "needs torchrun"),
        (dict(protocol=linear(), launcher="slurm"), ConfigError, "needs srun"),
        (dict(protocol=linear(), launcher="mpi"), ConfigError, "needs mpirun"),
        (dict(protocol=linear(), launcher="ssh"), ConfigError, "--launcher ssh is not known"),
        (dict(protocol=TrainedProtocol("linear", config="none.py")), ConfigError, "none.py does not exist"),
        (dict(protocol=linear(), image_size=0), ConfigError, "--image-size 0 must be positive"),
        (dict(protocol=semisup(labels=LabelSubset(2.0))), ConfigError, "cannot be drawn"),
        (dict(latency_batch=0), ConfigError, "positive numbers"),
        (dict(baselines=[("BYOL", "none.json")]), ArtifactError, "none.json does not exist"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence_and_no_result(work, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        run(work, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_options_that_do_not_belong_together_are_refused():
    for options in ({}, dict(fraction=0.1, file="list.txt")):
        with pytest.raises(ConfigError, match="either --label-fraction or --label-list"):
            LabelSubset(**options)
    with pytest.raises(ConfigError, match="either --label-fraction or --label-list"):
        TrainedProtocol("semisup")
    with pytest.raises(ConfigError, match="uses all labels"):
        TrainedProtocol("linear", labels=LabelSubset(0.1))
    with pytest.raises(ConfigError, match="unknown protocol 'svm'"):
        TrainedProtocol("svm")
