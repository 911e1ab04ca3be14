"""What the README promises: an export drops into an mmdet config, without custom_imports."""

import json

import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DefaultScope

from mmssl_dynamic.evaluation import calibrate_path
from mmssl_dynamic.export import export_subnet
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.models import SDRResNet

NAME = "0-1-0-1"


def test_an_export_drops_into_a_detector_with_its_weights(tmp_path):
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    torch.manual_seed(0)
    net = SDRResNet(50, (16, 16, 32, 32), (2, 2, 2, 2), stem_channels=8).eval()
    images = torch.randn(4, 3, 64, 64)
    net.set_bn_statistics(NAME, calibrate_path(net, NAME, [images]))
    report = export_subnet(net, NAME, tmp_path / "backbone.pth", "mmdet")
    usage = json.loads(report.sidecar.read_text())["usage"]

    config: Config = get_config("mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py")
    config.model.backbone = dict(
        usage["backbone"], out_indices=(0, 1, 2, 3), frozen_stages=1, norm_eval=True, norm_cfg=dict(type="BN")
    )
    config.model.neck.in_channels = [48, 48, 96, 96]
    register_all_modules(init_default_scope=False)
    # The scope of a detection config, for the length of the build only: other tests have mmpretrain's.
    with MODELS.switch_scope_and_registry("mmdet") as registry, DefaultScope.overwrite_default_scope("mmdet"):
        detector = registry.build(config.model)
    detector.init_weights()

    weights = load_state_dict(report.path)
    own = detector.backbone.state_dict()
    assert set(own) == set(weights)
    assert all(torch.equal(own[name], value) for name, value in weights.items())
    detector.eval()
    with torch.no_grad(), net.subnet(NAME):
        (expected,) = net(images)
        features = detector.backbone(images)
        pyramid = detector.extract_feat(images)
    torch.testing.assert_close(features[-1], expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert [f.shape[1] for f in features] == config.model.neck.in_channels
    assert len(pyramid) == 5
