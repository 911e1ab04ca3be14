"""What the README promises: an export drops into an mmdet config, without custom_imports, and computes what it did."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.models import SlimmableMobileNetV3, SlimmableResNet
from tests.helpers import export_subnet, randomise

pytestmark = pytest.mark.usefixtures("mmdet_scope")


def build(config):
    from mmdet.registry import MODELS

    with MODELS.switch_scope_and_registry("mmdet") as registry:
        return registry.build(deepcopy(config))


def usage(network):
    """The backbone's config in the sidecar of an export."""
    return json.loads(Path(f"{network.weights}.json").read_text())["usage"]["backbone"]


def images(count=2, side=64):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["sdr", "mobilenet", "resnet"])
def test_an_export_drops_into_a_detector_with_its_weights(networks, kind):
    network = networks[kind]
    config: Config = get_config("mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py")
    config.model.backbone = dict(usage(network), frozen_stages=1, norm_eval=True, norm_cfg=dict(type="BN"))
    config.model.neck.in_channels = network.channels
    detector = build(config.model)
    detector.init_weights()

    weights = load_state_dict(network.weights)
    own = detector.backbone.state_dict()
    assert set(own) == set(weights)
    assert all(torch.equal(own[name], value) for name, value in weights.items())
    detector.eval()
    with torch.no_grad(), network.net.subnet(network.name):
        (expected,) = network.net(images())
        features = detector.backbone(images())
        pyramid = detector.extract_feat(images())
    torch.testing.assert_close(features[-1], expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert [f.shape[1] for f in features] == config.model.neck.in_channels
    assert [64 // f.shape[-1] for f in features] == [4, 8, 16, 32]
    assert len(pyramid) == 5


DETECTORS = {
    "retinanet/retinanet_r50_fpn_1x_coco": "sdr",
    "atss/atss_r50_fpn_1x_coco": "mobilenet",
    "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco": "resnet",
    "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco": "sdr",
    "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco": "mobilenet",
}


def narrow(node):
    """A detector's config with 32 channels wherever it has 256 or 1,024."""
    if isinstance(node, dict):
        return {key: narrow(value) for key, value in node.items()}
    if isinstance(node, list):
        return [narrow(value) for value in node]
    return 32 if node in (256, 1024) and not isinstance(node, bool) else node


def training_samples(count, side):
    """Two objects per image, with masks."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    boxes = torch.tensor([[4.0, 4.0, 40.0, 44.0], [30.0, 30.0, side - 2, side - 4]])
    masks = torch.zeros(2, side, side, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist()):
        mask[top:bottom, left:right] = 1
    found = []
    for _ in range(count):
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(side, side), batch_input_shape=(side, side), scale_factor=(1, 1), pad_shape=(side, side)
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=boxes.clone(), labels=torch.tensor([0, 5]), masks=BitmapMasks(masks.numpy(), side, side)
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        found.append(sample)
    return found


@pytest.mark.parametrize(("path", "kind"), DETECTORS.items())
def test_other_detectors_build_and_train_a_step(networks, path, kind):
    network = networks[kind]
    config: Config = get_config(f"mmdet::{path}.py")
    config.model = narrow(config.model.to_dict())
    config.model.backbone = dict(usage(network), norm_cfg=dict(type="BN"))
    config.model.neck.in_channels = [256, 512, 1024, 2048]
    with pytest.raises(ConfigError, match="in_channels"):  # still those of ResNet-50
        build(config.model)
    config.model.neck.in_channels = network.channels
    torch.manual_seed(0)
    detector = build(config.model)
    detector.init_weights()
    detector.train()
    loss, _ = detector.parse_losses(detector.loss(images(side=128), training_samples(2, 128)))
    loss.backward()
    assert torch.isfinite(loss)
    gradients = {key: value.grad for key, value in detector.backbone.named_parameters()}
    assert all(gradient is not None and gradient.any() for gradient in gradients.values())
    first = next(detector.backbone.parameters())
    before = first.clone()
    torch.optim.SGD(detector.parameters(), lr=1e-2).step()
    assert not torch.equal(first, before)


def stock_resnet(weights):
    """mmdet's own, of the widths of ResNet-18 divided by four."""
    from mmdet.models import ResNet

    return ResNet(
        18,
        base_channels=16,
        stem_channels=16,
        out_indices=(0, 1, 2, 3),
        norm_eval=False,
        init_cfg=dict(type="Pretrained", checkpoint=str(weights)),
    )


def stock_mobilenet(weights):
    """mmpretrain's own; it has only width 1."""
    from mmpretrain.models import MobileNetV3

    return MobileNetV3("small", out_indices=(0, 1, 3, 8, 12), init_cfg=dict(type="Pretrained", checkpoint=str(weights)))


@pytest.mark.parametrize("mode", ["evaluation", "training"])
@pytest.mark.parametrize("kind", ["ResNet", "MobileNetV3"])
def test_feature_maps_are_those_of_the_stock_backbone_with_the_same_weights(tmp_path, kind, mode):
    torch.manual_seed(0)
    if kind == "ResNet":
        net = SlimmableResNet(((16, 32, 64, 128), (24, 40, 72, 128)), ((2, 2, 2, 2),), zero_init_residual=False)
        name, stock, outputs = net.space.smallest, stock_resnet, [0, 1, 2, 3]
    else:
        net, name, stock = SlimmableMobileNetV3("small", (1.0, 1.1)), "w1.0", stock_mobilenet
        outputs = [0, 1, 3, 8, 12]
    randomise(net)
    report = export_subnet(net, name, tmp_path / "backbone.pth", "mmdet")
    config = json.loads(report.sidecar.read_text())["usage"]["backbone"]
    through_plugin = build({**config, "out_indices": outputs})
    others = stock(report.path)
    found = []
    for backbone in (through_plugin, others):
        backbone.init_weights()
        backbone.train(mode == "training")
        with torch.no_grad():
            found.append(backbone(images()))
    assert len(found[0]) == len(found[1]) == len(outputs)
    for own, other in zip(*found):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-5 * float(other.abs().max()))
    if mode == "training":  # running statistics move alike, too: momentum and eps are the stock network's
        statistics = others.state_dict()
        for key, value in through_plugin.state_dict().items():
            torch.testing.assert_close(value, statistics[key], rtol=1e-4, atol=1e-6)
