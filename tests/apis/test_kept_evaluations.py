"""An evaluation is kept as long as nothing has changed that it depends on, and not a moment longer."""

import shutil
from importlib import import_module

import pytest
import torch

from mmssl_dynamic import result_cache
from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.downstream.label_subsets import LabelSubset
from mmssl_dynamic.evaluation import KNNProtocol
from mmssl_dynamic.evaluation.nearest_neighbours import NearestNeighbours
from mmssl_dynamic.evaluation.probing import Probe, TrainedProtocol
from mmssl_dynamic.loading import build_backbone, load_config
from mmssl_dynamic.result_cache import Computation
from tests.apis.by_option import evaluate
from tests.helpers import randomise, touch, write_images

CONFIG = """
eval_pipeline = [
    dict(type='mmssl_dynamic.LoadImage'), dict(type='CenterCrop', crop_size=16), dict(type='PackInputs')]
model = dict(
    backbone=dict(
        type='mmssl_dynamic.SlimmableResNet', channels=[[8, 8, 8, 8], [16, 16, 16, 16]], blocks=[[1, 1, 1, 1]],
        zero_init_residual=False),
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.0] * 3, std=[50.0] * 3, to_rgb=True))
"""
PLAIN = CONFIG[: CONFIG.index("    backbone")] + (
    "    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),\n"
    "    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.0] * 3, std=[50.0] * 3, to_rgb=True))\n"
)
SMALL, LARGE = "w0.033333-d1111", "w0.066667-d1111"


def save_networks(root, seed=0, changed=()):
    """Checkpoint and bank; networks in ``changed`` have other statistics than usual."""
    torch.manual_seed(seed)
    net = randomise(build_backbone(load_config(root / "config.py")))
    torch.save(net.state_dict(), root / "epoch_1.pth")
    bank = BNBank.of(net)
    bank.path = {key: net.bn_statistics(key) for key in net.space.keys}
    for name in changed:
        key = net.space.check(name)
        bank.path[key] = {layer: (mean, 2 * var) for layer, (mean, var) in bank.path[key].items()}
    bank.save(root / "bank.safetensors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Everything that an evaluation needs, and the results of one."""
    root = tmp_path_factory.mktemp("finished")
    write_images(root / "data/train", 12, size=18, classes=3)
    write_images(root / "data/val", 6, size=18, classes=3, seed=1)
    (root / "config.py").write_text(CONFIG)
    (root / "plain.py").write_text(PLAIN)
    save_networks(root)
    torch.save(build_backbone(load_config(root / "plain.py")).state_dict(), root / "plain.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Probe, "__call__", lambda *_: (50.0, 75.0))
        run(root)
        run(root, protocol=linear())
        run(root, protocol=semisup())
    run(root, plain=True)
    return root


@pytest.fixture
def work(finished, tmp_path, monkeypatch):
    """A copy of it with the times of the files."""
    shutil.copytree(finished, tmp_path / "work")
    monkeypatch.setattr(import_module("mmssl_dynamic.apis.evaluate"), "save_figure", lambda *_: None)
    return tmp_path / "work"


@pytest.fixture
def evaluated(monkeypatch):
    """Names of the networks that are evaluated from now on; trainings are made up."""
    found = []
    original = NearestNeighbours.__call__

    def knn(method, network, folder, label):
        found.append(network.name)
        return original(method, network, folder, label)

    def probe(method, network, folder, label):
        found.append(network.name)
        return 50.0, 75.0

    monkeypatch.setattr(NearestNeighbours, "__call__", knn)
    monkeypatch.setattr(Probe, "__call__", probe)
    return found


def run(root, plain=False, **options):
    given = dict(protocol=KNNProtocol(k=3), num_workers=0, latency_repeats=0, device="cpu", progress=False)
    if isinstance(options.get("protocol"), TrainedProtocol):
        given = {**given, "image_size": 16, "batch_size": 4}
    bank = {} if plain else {"bank": root / "bank.safetensors"}
    files = (root / "plain.py", root / "plain.pth") if plain else (root / "config.py", root / "epoch_1.pth")
    return evaluate(*files, root / "out", data_root=root / "data", **{**given, **bank, **options})


def linear(**options):
    return TrainedProtocol("linear", cfg_options={"max_epochs": 2, **options})


def semisup(mode="finetune", **labels):
    return TrainedProtocol("semisup", mode=mode, labels=LabelSubset(**(labels or dict(fraction=0.5))))


def first_image(root):
    return root / "data/val/class_0/0000.png"


def touched(root):
    touch(first_image(root))


def one_more(root):
    shutil.copy2(first_image(root), root / "data/val/class_0/9999.png")


def relabelled(root):
    first_image(root).rename(root / "data/val/class_1/9999.png")


CHANGES = {
    "weights": lambda root: save_networks(root, seed=1),
    "bank": lambda root: save_networks(root, changed=(SMALL, LARGE)),
    "image": touched,
    "more images": one_more,
    "label": relabelled,
    "image size": lambda root: dict(image_size=14),
    "image size by the config": lambda root: dict(cfg_options={"eval_pipeline.1.crop_size": 14}),
    "pipeline": lambda root: dict(cfg_options={"eval_pipeline.0.bits": 12}),
    "normalisation": lambda root: dict(cfg_options={"model.data_preprocessor.std": [60.0, 50.0, 50.0]}),
    "k": lambda root: dict(protocol=KNNProtocol(k=2)),
    "vote": lambda root: dict(protocol=KNNProtocol(k=3, vote="majority")),
    "temperature": lambda root: dict(protocol=KNNProtocol(k=3, temperature=0.5)),
    "backend": lambda root: dict(protocol=KNNProtocol(k=3, backend="faiss")),
    "again": lambda root: dict(again=True),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_every_network_is_evaluated_again(work, evaluated, change):
    run(work, **(change(work) or {}))
    assert evaluated == [SMALL, LARGE]


TRAINING_CHANGES = {
    "epochs": (linear, lambda root: dict(protocol=linear(max_epochs=3))),
    "learning rate": (linear, lambda root: dict(protocol=linear(**{"optim_wrapper.optimizer.lr": 0.3}))),
    "batch size": (linear, lambda root: dict(batch_size=3)),
    "seed": (linear, lambda root: dict(seed=1)),
    "image size": (linear, lambda root: dict(image_size=14)),
    "image": (linear, touched),
    "bank": (linear, CHANGES["bank"]),
    "normalisation": (linear, CHANGES["normalisation"]),
    "share of labels": (semisup, lambda root: dict(protocol=semisup(fraction=0.25))),
    "choice of labels": (semisup, lambda root: dict(protocol=semisup(fraction=0.5, seed=1))),
    "mode": (semisup, lambda root: dict(protocol=semisup("frozen"))),
}


@pytest.mark.parametrize(("protocol", "change"), TRAINING_CHANGES.values(), ids=TRAINING_CHANGES)
def test_whatever_changes_of_a_training_every_network_is_trained_again(work, evaluated, protocol, change):
    run(work, protocol=protocol())
    assert evaluated == []
    run(work, **{"protocol": protocol(), **(change(work) or {})})
    assert evaluated == [SMALL, LARGE]


def test_a_network_whose_statistics_stay_is_kept(work, evaluated):
    save_networks(work, changed=(SMALL,))
    run(work)
    assert evaluated == [SMALL]


def test_strides_make_another_network_of_the_same_weights(work, evaluated):
    run(work, plain=True)
    assert evaluated == []
    run(work, plain=True, cfg_options={"model.backbone.strides": (1, 1, 2, 2)})
    assert evaluated == ["plain"]


def test_a_new_version_of_the_computation_makes_all_that_was_kept_void(work, evaluated, monkeypatch):
    version, depends_on = result_cache.COMPUTATIONS["evaluation"]
    monkeypatch.setitem(result_cache.COMPUTATIONS, "evaluation", Computation(version + 1, depends_on))
    run(work)
    assert evaluated == [SMALL, LARGE]


def test_without_a_change_results_are_kept_bit_by_bit_wherever_they_lie(work, finished, evaluated, capsys):
    expected = run(finished)
    found = run(work, batch_size=5, num_workers=1, progress=True)
    assert evaluated == []
    assert found.networks == expected.networks
    lines = [line for line in capsys.readouterr().out.splitlines() if "kept from" in line]
    assert len(lines) == 1
    assert lines[0].startswith("2 of 2 networks are kept from 20")
    assert "its inputs are unchanged: network, weights, BN statistics, architecture, images, " in lines[0]


def test_a_damaged_result_is_computed_again_and_that_is_said(work, evaluated):
    for file in (work / "out/networks").glob(f"{SMALL}-*.json"):
        file.write_text(file.read_text()[:-30])
    with pytest.warns(UserWarning, match=f"{SMALL}.*is damaged .* computed anew"):
        run(work)
    assert evaluated == [SMALL]


def test_again_begins_a_training_anew_that_had_stopped(work, monkeypatch):
    seen = []

    def stopped(method, network, folder, label):
        seen.append(sorted(path.name for path in folder.glob("*")) if folder.exists() else [])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "last_checkpoint").write_text("epoch_1.pth")
        raise KeyboardInterrupt

    monkeypatch.setattr(Probe, "__call__", stopped)
    for options in ({}, {}, dict(again=True)):
        with pytest.raises(KeyboardInterrupt):
            run(work, protocol=linear(max_epochs=7), **options)
    assert seen == [[], ["last_checkpoint"], []]


def test_a_latency_is_that_of_this_device_and_these_options(work, evaluated, monkeypatch):
    first = run(work, latency_repeats=2).networks[0].latency
    assert run(work, latency_repeats=2).networks[0].latency == first
    assert run(work, latency_repeats=3).networks[0].latency.repeats == 3
    monkeypatch.setattr("mmssl_dynamic.evaluation.latency.device_name", lambda device: "CPU (abacus)")
    assert run(work, latency_repeats=3).networks[0].latency.device == "CPU (abacus)"
    assert evaluated == []
