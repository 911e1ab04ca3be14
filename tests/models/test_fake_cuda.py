"""Every tensor is made where the model is: losses, calibration, routing, neighbours on fake CUDA tensors."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS as BUILT
from mmpretrain.structures import DataSample
from torch._subclasses.fake_tensor import FakeTensorMode

from mmssl_dynamic.calibration import pooled_statistics
from mmssl_dynamic.evaluation.knn import _neighbours
from mmssl_dynamic.models import SDRResNet
from mmssl_dynamic.models.augmentation import Draw
from mmssl_dynamic.models.selfsup import SDR
from mmssl_dynamic.models.selfsup.moving_target import MovingTarget
from mmssl_dynamic.routing.prefix_tree import PathFeatures
from mmssl_dynamic.subnets import FULL
from tests.fake_cuda import answer, fake_views, kinds, on_cuda
from tests.helpers import MOCO_HEAD, MOCO_NECK, build_sdr, build_slimmable, byol_parts, samples
from tests.models.classifiers.test_slimmable_classifier import build as build_classifier
from tests.models.necks.test_several_heads import build as build_several_heads
from tests.models.selfsup.test_sdr_slimmable import build as build_sdr_slimmable
from tests.models.selfsup.test_taught import DISTILLATION, build_distilled, frozen
from tests.routing.toy import calibrated, super_network

PATH = "0-3-1-2"
"""A path of 256."""


MODELS = {
    "SDR": build_sdr,
    "SDR on BYOL": lambda: build_sdr(kind="SDRBYOL"),
    "SDR on MoCo-v2": lambda: build_sdr(kind="SDRMoCo", neck=MOCO_NECK, head=MOCO_HEAD, queue_len=16),
    "SDR taught by a frozen teacher": lambda: build_sdr(teacher=frozen(), distillation=DISTILLATION),
    "SDR in one direction": lambda: build_sdr(directions="alternate"),
    "SDR with L2": lambda: build_sdr(distillation=dict(type="mmssl_dynamic.L2Distillation")),
    "DSPNet": lambda: build_slimmable("DSPNet"),
    "DSPNet with momentum BN": lambda: build_slimmable("DSPNet", target_bn="momentum", same_view=1.0),
    "DSPNet with several heads": lambda: build_several_heads([8, 16]),
    "DSPNet taught by a frozen teacher": lambda: build_slimmable(
        "DSPNet", teacher=frozen(), distillation=dict(DISTILLATION, head="per_network")
    ),
    "SlimmableSimSiam": lambda: build_slimmable("SlimmableSimSiam"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_loss_makes_all_of_its_tensors_on_the_card(kind):
    model, mode = on_cuda(MODELS[kind]())
    inputs, model.first_view = fake_views(mode), 0
    for name in (FULL, PATH) if isinstance(model, SDR) else (FULL,):
        with mode:
            losses = model.loss(inputs, samples(name, 4) if isinstance(model, SDR) else None)
        assert {value.device.type for value in losses.values()} == {"cuda"}
        assert any("loss" in key for key in losses)
        if isinstance(model, MovingTarget):  # what TargetEMAHook does after a step
            with mode:
                model.update_target(0.1)
            assert {tensor.device.type for tensor in model.target_net.state_dict().values()} == {"cuda"}


@pytest.mark.parametrize("kind", ["SDRSlimmable", "SDRSlimmableBYOL"])
def test_a_sandwich_of_paths_and_widths_makes_its_tensors_on_the_card(kind):
    parts = dict(zip(("neck", "head"), byol_parts())) if kind.endswith("BYOL") else {}
    model, mode = on_cuda(build_sdr_slimmable(kind, **parts))
    inputs = fake_views(mode)
    for name in (FULL, "0-0-0-2"):
        with mode:
            losses = model.loss(inputs, samples(name, 4))
        assert kinds(*losses.values()) == {"cuda"}
        assert any("@w" in key for key in losses) == (name != FULL)


def test_a_distilled_and_a_supervised_network_make_their_tensors_on_the_card():
    model, mode = on_cuda(build_distilled())
    (view, _) = fake_views(mode)
    with mode:
        assert kinds(*model.loss(view).values()) == {"cuda"}
    model, mode = on_cuda(build_classifier())
    (images, _) = fake_views(mode)
    with mode:
        targets = [DataSample().set_gt_label(torch.zeros(1, dtype=torch.long, device="cuda")) for _ in range(4)]
        assert kinds(*model.loss(images, targets).values()) == {"cuda"}


def test_views_are_augmented_on_the_card_by_draws_from_the_cpu(monkeypatch):
    answer(monkeypatch, 1.0)  # of every draw: every change is made to every image
    options = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=True)
    preprocessor, mode = on_cuda(BUILT.build(dict(type="mmssl_dynamic.AugmentingPreprocessor", **options)))
    preprocessor._device = torch.device("cuda")
    loaded = [DataSample() for _ in range(4)]
    for sample in loaded:
        sample.set_field(np.array([Draw().row()] * 2, np.float32), "draws", field_type="metainfo")
    with mode:
        out = preprocessor(dict(inputs=fake_views(mode), data_samples=loaded), True)["inputs"]
    assert kinds(*out) == {"cuda"}
    assert {view.shape for view in out} == {(4, 3, 32, 32)}


@pytest.mark.parametrize("leave_one_out", [True, False])
def test_neighbours_are_sought_on_the_card_and_handed_to_the_cpu(monkeypatch, leave_one_out):
    answer(monkeypatch, True)  # all features are finite, and all neighbours equally near
    mode = FakeTensorMode()
    with mode:
        rows = torch.zeros(10, 6)  # of the CPU, as features are
        found = list(_neighbours(rows, rows, 3, (4, 5), "torch", "cuda", leave_one_out, [0, 4, 8]))
    assert [similarity.shape for similarity, _ in found] == [(4, 3), (4, 3), (2, 3)]
    assert kinds(*(tensor for pair in found for tensor in pair)) == {"cpu"}


def test_statistics_and_features_are_computed_on_the_card():
    net = SDRResNet(18, stage_channels=(8, 8, 12, 16), stage_groups=(1, 1, 2, 2), stem_channels=8)
    twin, mode = on_cuda(net.static("0-0-1-0"))
    inputs = fake_views(mode)[:1]
    with mode:
        statistics = pooled_statistics(twin, inputs)
    assert {tensor.device.type for pair in statistics.values() for tensor in pair} == {"cuda"}


@pytest.mark.parametrize("share", [True, False])
def test_routing_keeps_stages_on_the_card_and_hands_features_to_the_cpu(share):
    net, names = super_network(), ("0-0-0-1", "0-0-1-3", FULL)
    bank = calibrated(net)
    net, mode = on_cuda(net)
    for name in names:
        with mode:
            sizes = {layer: len(mean) for layer, (mean, _) in bank.statistics(name, "prefix").items()}
            found = {layer: (torch.zeros(size), torch.ones(size)) for layer, size in sizes.items()}  # of the CPU
            net.set_bn_statistics(name, found)
    with mode:
        batches = [SimpleNamespace(images=view, labels=torch.zeros(4).long()) for view in fake_views(mode)]
        found, labels = PathFeatures(net, names, share)(batches)
    assert {rows.device.type for rows in found.values()} == {labels.device.type} == {"cpu"}
    assert {name: rows.shape[0] for name, rows in found.items()} == dict.fromkeys(names, 8)


def test_a_tensor_on_the_wrong_device_is_found():
    model, mode = on_cuda(build_sdr())
    inputs = fake_views(mode)
    original = model.ssl_loss
    model.ssl_loss = lambda *given: original(*given) + torch.arange(4.0).mean(0, keepdim=True)
    with mode, pytest.raises(RuntimeError, match="two different devices"):
        model.loss(inputs, samples(FULL, 4))
