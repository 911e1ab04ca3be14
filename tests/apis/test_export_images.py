"""An export says how images are to be normalised, and who does as it says gets the features of the package itself."""

import json
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from PIL import Image

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.datasets.batches import ImageBatches, build_dataset
from mmssl_dynamic.errors import ArtifactError, ConfigError, SubnetError
from mmssl_dynamic.export import InputImages
from mmssl_dynamic.features.pooling import pool, pooled_features
from mmssl_dynamic.loading import build_backbone, load_config, load_super_network, normalisation_of
from mmssl_dynamic.models.eval_mode import eval_mode
from tests.apis.by_option import export
from tests.helpers import randomise

CONFIG = """
size = 64
eval_pipeline = [
    dict(type='mmssl_dynamic.LoadImage'),
    dict(type='ResizeEdge', scale=80, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=size),
    dict(type='PackInputs')]
model = dict(backbone=dict({backbone}))
data_preprocessor = dict(
    type='SelfSupDataPreprocessor', mean=[150.0, 90.0, 60.0], std=[20.0, 70.0, 50.0], to_rgb={to_rgb})
"""
BACKBONES = {
    "sdr": "type='mmssl_dynamic.SDRResNet', depth=18, stage_channels=(16, 16, 32, 32), stem_channels=64",
    "mobilenet": "type='mmssl_dynamic.SlimmableMobileNetV3', arch='small', widths=(0.35, 0.5)",
}
SUBNETS = {"sdr": "0-3-1-2", "mobilenet": "w0.35"}
TIMM = {"sdr": "mmssl_sdr_resnet18", "mobilenet": "mmssl_slimmable_mobilenetv3_small"}


@pytest.fixture(scope="module", params=[("sdr", True), ("mobilenet", True), ("sdr", False)], ids=str)
def work(request, tmp_path_factory):
    """A run with odd means, photographs of the evaluation's size and larger, and how to export it."""
    kind, to_rgb = request.param
    root = tmp_path_factory.mktemp(kind)
    (root / "config.py").write_text(CONFIG.replace("{backbone}", BACKBONES[kind]).replace("{to_rgb}", str(to_rgb)))
    torch.manual_seed(0)
    net = randomise(build_backbone(load_config(root / "config.py")), [SUBNETS[kind]])
    torch.save({f"backbone.{key}": value for key, value in net.state_dict().items()}, root / "epoch_1.pth")
    bank = BNBank.of(net)
    bank.path = {SUBNETS[kind]: net.bn_statistics(SUBNETS[kind])}
    bank.save(root / "bank.safetensors")
    rng = np.random.default_rng(0)
    for size, (height, width) in {"exact": (64, 64), "large": (96, 128)}.items():
        (root / size).mkdir()
        for i in range(3):
            tint = rng.integers(0, 200, 3)
            coarse = rng.integers(0, 56, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
            Image.fromarray((tint + coarse).astype(np.uint8)).save(root / size / f"{i}.png")

    def written(format, out):
        suffix = "onnx" if format == "onnx" else "pth"
        files = root / "config.py", root / "epoch_1.pth", out / f"backbone.{suffix}"
        options = {"type": "onnx", "batch_size": 3, "image_size": 64}  # faster to export than a graph of any size
        how = options if format == "onnx" else format
        return export(*files, subnet=SUBNETS[kind], bank=root / "bank.safetensors", format=how, device="cpu")

    return kind, root, written


def own_features(root, name, size="exact", **options):
    """Pooled features (N, D) as every verb of the package computes them."""
    config, net = load_super_network(root / "config.py", root / "epoch_1.pth", "cpu")
    BNBank.load(root / "bank.safetensors").apply(net, [name])
    pipeline = config.eval_pipeline if size == "large" else [config.eval_pipeline[0], config.eval_pipeline[-1]]
    dataset = dict(type="mmssl_dynamic.ImageFolder", data_root=str(root / size), pipeline=pipeline)
    return pooled_features(net, ImageBatches(build_dataset(dataset), normalisation_of(config), 4), name)[0]


def raw(root):
    """Photographs, (N, 3, H, W) uint8, RGB."""
    images = [np.asarray(Image.open(root / "exact" / f"{i}.png")) for i in range(3)]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def same(found, wanted):
    assert float(wanted.std(0).mean()) > 0.01 * float(wanted.abs().mean())  # of images that differ
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


def sidecar_of(report):
    return json.loads(report.sidecar.read_text())


@pytest.mark.parametrize("format", ["torchvision", "timm", "onnx"])
@torch.no_grad()
def test_the_lines_of_an_export_normalise_as_the_package_does(work, tmp_path, monkeypatch, format):
    for name in ("onnxruntime", "timm", "torchvision"):
        pytest.importorskip(name)
    kind, root, written = work
    usage = sidecar_of(written(format, tmp_path))["usage"]
    monkeypatch.chdir(tmp_path)
    images = raw(root)
    lines = usage.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("images = "))
    scope = {}
    exec("\n".join(lines[: start + 1]), scope)  # which images they are, the test says
    scope["images"] = images.numpy() if format == "onnx" else images
    exec("\n".join(lines[start + 1 :]), scope)
    found = scope["features"]
    found = torch.from_numpy(found) if format == "onnx" else found
    same(found, own_features(root, SUBNETS[kind]))


PASTED = """
import numpy as np, torch
{snippet}
images = torch.from_numpy(np.load({images!r})).flip(1)  # BGR
{rest}
found = features[-1].mean((2, 3)) if isinstance(features, tuple) else features
torch.save(found.detach(), {out!r})
"""


@pytest.mark.parametrize(
    ("work", "format"),
    [(("sdr", True), "torchvision"), (("sdr", False), "mmpretrain"), (("mobilenet", True), "mmdet")],
    indirect=["work"],
)
def test_what_is_printed_runs_in_a_process_that_knows_nothing_else(work, tmp_path, format):
    pytest.importorskip("mmdet")
    kind, root, written = work
    report = written(format, tmp_path)
    assert "\n" in report.snippet
    np.save(tmp_path / "images.npy", raw(root).numpy())
    lines = report.snippet.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("images = "))
    script = PASTED.format(
        snippet=report.snippet,
        images=str(tmp_path / "images.npy"),
        rest="\n".join(lines[start + 1 :]),
        out=str(tmp_path / "found.pt"),
    )
    if format == "torchvision":
        script = script.replace(".flip(1)", "")
    done = subprocess.run([sys.executable, "-"], input=script, text=True, capture_output=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    same(torch.load(tmp_path / "found.pt", weights_only=True), own_features(root, SUBNETS[kind]))
    if format == "mmdet":
        assert sidecar_of(report)["usage"]["neck"]["in_channels"] == sidecar_of(report)["out_channels"]


@torch.no_grad()
def test_the_numbers_in_a_sidecar_are_enough(work, tmp_path):
    """By hand, into the network that the sidecar describes."""
    from mmssl_dynamic.export.load_export import load_export

    kind, root, written = work
    report = written("mmdet", tmp_path)
    entry = sidecar_of(report)["images"]
    assert (entry["size"], entry["short_side"], entry["interpolation"]) == ([64, 64], 80, "bicubic")
    assert entry["pixel_range"] == [0, 255]
    images = raw(root).float()
    if entry["channel_order"] == "BGR":
        images = images.flip(1)
    mean, std = (torch.tensor(entry[key]).view(3, 1, 1) for key in ("mean", "std"))
    net = load_export(report.path)
    found = pool(net((images - mean) / std)[-1])
    same(found, own_features(root, SUBNETS[kind]))


@torch.no_grad()
def test_the_block_for_mmpretrain_normalises_as_the_package_does(work, tmp_path):
    from mmpretrain.registry import MODELS

    kind, root, written = work
    usage = sidecar_of(written("mmpretrain", tmp_path))["usage"]
    with MODELS.switch_scope_and_registry("mmpretrain") as registry:
        model = registry.build(
            dict(type="ImageClassifier", **deepcopy(usage), neck=dict(type="GlobalAveragePooling"), head=None)
        )
    model.init_weights()
    data = {"inputs": list(raw(root).flip(1)), "data_samples": None}  # BGR, as OpenMMLab's transforms give them
    with eval_mode(model):
        found = model.extract_feat(model.data_preprocessor(data)["inputs"])
    same(found[-1] if isinstance(found, tuple) else found, own_features(root, SUBNETS[kind]))


@pytest.mark.usefixtures("mmdet_scope")
@torch.no_grad()
def test_the_block_for_mmdet_normalises_as_the_package_does(work, tmp_path):
    pytest.importorskip("mmdet")
    from mmdet.registry import MODELS
    from mmengine.hub import get_config

    kind, root, written = work
    usage = sidecar_of(written("mmdet", tmp_path))["usage"]
    config = get_config("mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py")
    config.merge_from_dict({"model": {"data_preprocessor": usage["data_preprocessor"]}})
    assert config.model.data_preprocessor.pad_mask  # what belongs to the detector stays
    with MODELS.switch_scope_and_registry("mmdet") as registry:
        preprocessor = registry.build(dict(config.model.data_preprocessor))
        backbone = registry.build(dict(usage["backbone"]))
    backbone.init_weights()
    inputs = preprocessor({"inputs": list(raw(root).flip(1)), "data_samples": None})["inputs"]
    with eval_mode(backbone):
        same(pool(backbone(inputs)[-1]), own_features(root, SUBNETS[kind]))


@pytest.mark.parametrize("format", ["torchvision", "timm", "mmpretrain"])
@pytest.mark.filterwarnings("ignore:this network takes BGR")
@torch.no_grad()
def test_timms_own_transforms_normalise_as_the_package_does(work, tmp_path, format):
    timm = pytest.importorskip("timm")
    import mmssl_dynamic.export.timm_models  # noqa: F401

    kind, root, written = work
    path = written(format, tmp_path).path
    bgr = not normalisation_of(load_config(root / "config.py")).to_rgb
    wanted = own_features(root, SUBNETS[kind], "large")
    overlay = dict(pretrained=True, pretrained_cfg_overlay=dict(file=str(path)))
    by_hand = dict(subnet=SUBNETS[kind])
    if kind == "sdr":
        by_hand |= dict(stage_channels=(16, 16, 32, 32), stem_channels=64)
    for options in (dict(export=path), dict(export=str(path), subnet=SUBNETS[kind]), {**overlay, **by_hand}):
        net = timm.create_model(TIMM[kind], **options).eval()
        data = timm.data.resolve_model_data_config(net)
        assert (data["input_size"], data["crop_pct"]) == ((3, 64, 64), 0.8)
        transform = timm.data.create_transform(**data)
        images = torch.stack([transform(Image.open(root / "large" / f"{i}.png")) for i in range(3)])
        found = net(images.flip(1) if bgr else images)
        torch.testing.assert_close(found, wanted, rtol=0, atol=2e-3 * float(wanted.abs().max()))  # PIL rounds pixels
    pyramid = timm.create_model(TIMM[kind], export=path, features_only=True).eval()
    assert pyramid.pretrained_cfg["mean"] == net.pretrained_cfg["mean"] != (0.485, 0.456, 0.406)


def test_timm_refuses_an_export_that_is_not_the_model(work, tmp_path):
    timm = pytest.importorskip("timm")
    import mmssl_dynamic.export.timm_models  # noqa: F401

    kind, _, written = work
    report = written("torchvision", tmp_path)
    other = TIMM["mobilenet" if kind == "sdr" else "sdr"]
    with pytest.raises(ConfigError, match=f"which is no {other}"):
        timm.create_model(other, export=report.path)
    with pytest.raises(SubnetError, match=f"holds the sub-network '{SUBNETS[kind]}' alone"):
        timm.create_model(TIMM[kind], export=report.path, subnet="full")
    option = {"mmssl_sdr_resnet18": dict(stage_groups=(1, 1, 1, 1))}.get(TIMM[kind])
    if option:
        with pytest.raises(ConfigError, match="leave stage_groups out"):
            timm.create_model(TIMM[kind], export=report.path, **option)
    state = torch.load(report.path, weights_only=True)
    torch.save({key: tensor + 1 for key, tensor in state.items()}, report.path)
    with pytest.raises(ArtifactError, match="holds other weights than"):
        timm.create_model(TIMM[kind], export=report.path)
    sidecar = json.loads(report.sidecar.read_text())
    del sidecar["images"]["std"]
    report.sidecar.write_text(json.dumps(sidecar))
    with pytest.raises(ArtifactError, match=r"does not say how images are normalised \('images.std' is missing\)"):
        timm.create_model(TIMM[kind], export=report.path)
    report.sidecar.unlink()
    with pytest.raises(ArtifactError, match="has no backbone.pth.json beside it"):
        timm.create_model(TIMM[kind], export=report.path)


def test_a_sidecar_names_the_options_of_its_config(work, tmp_path):
    kind, root, _ = work
    options = {"data_preprocessor.mean": [1.0, 2.0, 3.0], "size": 64, "work_dir": None}
    report = export(
        root / "config.py", root / "epoch_1.pth", tmp_path / "b.pth", subnet=SUBNETS[kind],
        bank=root / "bank.safetensors", device="cpu", cfg_options=options,
    )  # fmt: skip
    sidecar = sidecar_of(report)
    assert sidecar["source"]["cfg_options"] == options
    assert sidecar["images"]["mean"] == sidecar["usage"]["data_preprocessor"]["mean"] == [1.0, 2.0, 3.0]


def test_the_size_of_images_is_read_from_the_pipeline(work):
    config = load_config(work[1] / "config.py")
    crop = dict(type="mmssl_dynamic.CenterCrop", crop_size=(48, 40))
    for steps, expected in {
        "crop": ([crop], ((48, 40), None)),
        "edge": ([dict(type="ResizeEdge", scale=50), crop], ((48, 40), 50)),
        "stretched": ([dict(type="Resize", scale=(40, 48))], ((48, 40), None)),
        "kept ratio": ([dict(type="Resize", scale=(40, 48), keep_ratio=True)], (None, None)),
        "long edge": ([dict(type="ResizeEdge", scale=50, edge="long")], (None, None)),
        "nothing": ([], (None, None)),
    }.values():
        config.eval_pipeline = steps
        images = InputImages.of(config)
        assert (images.size, images.short_side) == expected
        assert InputImages.from_sidecar({"images": json.loads(json.dumps(images.record()))}) == images
