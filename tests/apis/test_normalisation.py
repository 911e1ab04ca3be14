"""Every verb takes the data preprocessor from where mmengine's Runner takes it, and none does without."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.calibration.calibrate import calibrate_path
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.batches import ImageBatches, build_dataset
from mmssl_dynamic.engine import BNBankHook, CalibrateBNHook
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation import KNNProtocol
from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol
from mmssl_dynamic.evaluation.probing import TrainedProtocol
from mmssl_dynamic.fileio import load_state_dict, read_json
from mmssl_dynamic.loading import build_backbone, load_backbone, load_config, normalisation_of
from mmssl_dynamic.routing.method import RoutingMethod
from tests.apis.by_option import calibrate, evaluate, export, route, transfer
from tests.helpers import write_images
from tests.tools.running import tool

PREPROCESSOR = dict(
    type="mmpretrain.ClsDataPreprocessor", mean=[150.0, 90.0, 60.0], std=[20.0, 70.0, 50.0], to_rgb=True
)
CONFIG = """
eval_pipeline = [dict(type='mmssl_dynamic.LoadImage'), dict(type='PackInputs')]
backbone = dict(
    type='mmssl_dynamic.SDRResNet', depth=18, stage_channels=(8, 8, 8, 16), stage_groups=(1, 1, 1, 2), stem_channels=8,
    zero_init_residual=False)
extract_dataloader = dict(
    batch_size=16,
    dataset=dict(type='mmssl_dynamic.ImageFolder', data_root='{root}/images/train', pipeline=eval_pipeline))
clusters_file = '{root}/clusters.npz'
"""
MODELS = {
    "inside": f"model = dict(backbone=backbone, data_preprocessor={PREPROCESSOR})",
    "top": f"model = dict(backbone=backbone)\ndata_preprocessor = {PREPROCESSOR}",
    "both": f"model = dict(backbone=backbone, data_preprocessor={PREPROCESSOR})\ndata_preprocessor = dict(mean=[9])",
    "raw": "model = dict(backbone=backbone)\ndata_preprocessor = dict(type='SelfSupDataPreprocessor')",
    "none": "model = dict(backbone=backbone)",
    "cleared": f"model = dict(backbone=backbone, data_preprocessor=None)\ndata_preprocessor = {PREPROCESSOR}",
}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Configs that differ in their data preprocessor alone; weights, BN bank, clusters and images."""
    root = tmp_path_factory.mktemp("normalisation")
    for part, seed in (("train", 0), ("test", 1)):
        write_images(root / "images" / part, 36, size=16, classes=6, seed=seed)
    for name, model in MODELS.items():
        (root / f"{name}.py").write_text(CONFIG.replace("{root}", str(root)) + model)
    config = load_config(root / "inside.py")
    torch.manual_seed(0)
    net = build_backbone(config)
    dataset = build_dataset(config.extract_dataloader.dataset)
    batches = ImageBatches(dataset, normalisation_of(config), 36)
    bank = BNBank.of(net)
    bank.path = {key: calibrate_path(net, key, batches) for key in net.space.keys}
    bank.apply(net)
    bank.save(root / "bank.safetensors")
    torch.save({f"backbone.{key}": value for key, value in net.state_dict().items()}, root / "epoch_1.pth")
    names = [dataset.get_data_info(i)["img_path"].split("/train/")[1] for i in range(len(dataset))]
    centroids = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    Clusters(names, np.arange(36) % 2, 2, "sinkhorn", centroids).save(root / "clusters.npz")
    return root


class Verbs:
    """What each verb finds with a config, as plain numbers; and what it records of the normalisation, if it does."""

    def __init__(self, work, out, repo_root):
        self.work, self.out, self.repo_root = work, out, repo_root
        self.common = dict(batch_size=20, num_workers=0, device="cpu", progress=False)

    def files(self, name):
        return self.work / f"{name}.py", self.work / "epoch_1.pth"

    def extract_features(self, name):
        out = self.out / f"{name}.npy"
        tool(self.repo_root, "extract_features", *self.files(name), "--out", out)
        return np.load(out).ravel().tolist(), None

    def calibrate(self, name):
        bank = calibrate(*self.files(name), self.out / f"bank-{name}", images=20, **self.common)
        return numbers(bank.path["0-0-0-1"]), None

    def knn(self, name):
        found = evaluate(
            *self.files(name), self.out / name, protocol=KNNProtocol(k=3), data_root=self.work / "images",
            bank=self.work / "bank.safetensors", latency_repeats=0, **self.common,
        )  # fmt: skip
        return [network.top1 for network in found.networks], found.protocol["normalisation"]

    def linear(self, name):
        found = evaluate(
            *self.files(name), self.out / name, protocol=TrainedProtocol("linear", cfg_options={"max_epochs": 1}),
            data_root=self.work / "images", bank=self.work / "bank.safetensors", latency_repeats=0, image_size=16,
            subnets=["0-0-0-1"], **self.common,
        )  # fmt: skip
        (head,) = self.out.glob(f"{name}/networks/**/epoch_1.pth")
        weights = load_state_dict(head)["head.fc.weight"]
        return [found.networks[0].top1, *weights.ravel().tolist()], found.protocol["normalisation"]

    def transfer(self, name):
        protocol = ManyShotProtocol(wd_from=-2, wd_to=2, wd_count=3)
        found = transfer(
            *self.files(name), self.out / name, data_root=self.work, datasets=["images"], protocol=protocol,
            bank=self.work / "bank.safetensors", image_size=16, **self.common,
        )  # fmt: skip
        features = [np.load(file).ravel() for file in sorted((self.out / name / "features").glob("*train*.npy"))]
        return [*(score.score for score in found.scores), *np.concatenate(features)], found.protocol["normalisation"]

    def route(self, name):
        method = RoutingMethod("cluster", self.work / "clusters.npz", *self.files(name))
        ((found, _),) = route(
            *self.files(name), self.work / "bank.safetensors", self.out / name, data_roots=[self.work / "images"],
            method=method, protocol=KNNProtocol(k=3), **self.common,
        )  # fmt: skip
        hits = sorted(found.protocol["cluster_hits"].items())
        scores = sorted((score.name, score.select_accuracy, score.test_accuracy) for score in found.subnets)
        return [hits, scores], found.protocol["normalisation"]

    def export(self, name):
        out = self.out / f"{name}.pth"
        report = export(
            *self.files(name), out, subnet="0-0-0-1", bank=self.work / "bank.safetensors", device="cpu",
        )  # fmt: skip
        images = read_json(report.sidecar, "sidecar")["images"]
        return images, {key: images[key] for key in ("mean", "std", "to_rgb")}

    def bn_bank_hook(self, name):
        run, hook = self.runner(name), BNBankHook(images=20, batch_size=20)
        hook.before_train(run)
        hook.after_train(run)
        return numbers(BNBank.load(self.out / name / "bn_bank.safetensors").path["0-0-0-1"]), None

    def calibrate_bn_hook(self, name):
        run, hook = self.runner(name), CalibrateBNHook(images=20, batch_size=20)
        hook.before_run(run)
        hook.calibrate(run)
        return numbers(run.model.backbone.bn_statistics("0-0-0-1")), None

    def runner(self, name):
        config = load_config(self.work / f"{name}.py")
        model = torch.nn.Module()
        model.backbone = load_backbone(config, self.work / "epoch_1.pth", "cpu")
        return SimpleNamespace(
            model=model, cfg=config, seed=0, _randomness_cfg={}, work_dir=str(self.out / name),
            logger=logging.getLogger("runner"),
            train_dataloader=SimpleNamespace(dataset=SimpleNamespace(clusters=None)),
        )  # fmt: skip


VERBS = ["extract_features", "calibrate", "knn", "linear", "transfer", "route", "export"]
VERBS += ["bn_bank_hook", "calibrate_bn_hook"]


def numbers(statistics):
    return torch.cat([torch.cat(pair) for pair in statistics.values()]).tolist()


@pytest.mark.parametrize(
    "verb",
    [
        "extract_features",
        "calibrate",
        "knn",
        "linear",
        "transfer",
        "route",
        "export",
        "bn_bank_hook",
        "calibrate_bn_hook",
    ],
)
def test_a_preprocessor_at_the_top_is_one_in_the_model(work, tmp_path, repo_root, verb, capsys):
    run = getattr(Verbs(work, tmp_path, repo_root), verb)
    (expected, recorded), (top, top_recorded) = run("inside"), run("top")
    assert top == expected
    assert run("raw")[0] != expected
    if recorded is not None:
        assert recorded == top_recorded == {key: PREPROCESSOR[key] for key in ("mean", "std", "to_rgb")}
    for name in ("none", "cleared"):
        with pytest.raises((ConfigError, SystemExit)) as refused:
            run(name)
        text = str(refused.value) if isinstance(refused.value, ConfigError) else capsys.readouterr().err
        assert f"{name}.py has no data_preprocessor, neither in its model nor at the top" in text
        assert not list(tmp_path.glob(f"{name}*"))


def test_a_base_network_that_is_normalised_otherwise_is_refused(work, tmp_path):
    method = RoutingMethod("cluster", work / "clusters.npz", work / "raw.py", work / "epoch_1.pth")
    with pytest.raises(ConfigError, match=r"raw.py normalises images with .* route with --method knn"):
        route(
            work / "top.py", work / "epoch_1.pth", work / "bank.safetensors", tmp_path / "out",
            data_roots=[work / "images"], method=method, device="cpu", progress=False,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_what_is_merged_is_what_mmengines_runner_merges(work, tmp_path, monkeypatch):
    """The Runner builds the model with exactly the preprocessor that the verbs use."""
    from mmengine.registry import DefaultScope
    from mmengine.runner import Runner
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    monkeypatch.setattr(DefaultScope, "_instance_dict", DefaultScope._instance_dict.copy())  # the Runner's stays here
    for name in ("inside", "top", "both"):
        config = load_config(work / f"{name}.py")
        expected = normalisation_of(config)
        config.model.type = "mmpretrain.ImageClassifier"
        config.work_dir, config.experiment_name = str(tmp_path / name), f"merge-{name}"
        model = Runner.from_cfg(config).model
        images = torch.randint(256, (2, 3, 4, 4), dtype=torch.uint8)
        found = model.data_preprocessor({"inputs": images, "data_samples": None})["inputs"]
        torch.testing.assert_close(expected(images), found)
