"""Every tensor is made where the model is: losses, calibration and routing on fake CUDA tensors, which need no card.

PyTorch's fake tensors have a device and no values, and an operation on tensors of two devices is an error.
"""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmssl_dynamic.calibration import pooled_statistics
from mmssl_dynamic.forecast.step_cost import become_fake
from mmssl_dynamic.models import SDRResNet
from mmssl_dynamic.models.selfsup import SDR
from mmssl_dynamic.models.selfsup.moving_target import MovingTarget
from mmssl_dynamic.routing.prefix_tree import PathFeatures
from mmssl_dynamic.subnets import FULL
from tests.helpers import MOCO_HEAD, MOCO_NECK, build_sdr, build_slimmable, samples
from tests.routing.toy import calibrated, super_network

PATH = "0-3-1-2"
"""A path of 256."""


def on_cuda(model):
    """A model with fake weights, and the mode in which it lives."""
    mode = FakeTensorMode()
    become_fake(model, mode, "cuda")
    return model, mode


def fake_views(mode, count=4):
    with mode:
        return [torch.zeros(count, 3, 32, 32, device="cuda") for _ in range(2)]


MODELS = {
    "SDR": build_sdr,
    "SDR on BYOL": lambda: build_sdr(kind="SDRBYOL"),
    "SDR on MoCo-v2": lambda: build_sdr(kind="SDRMoCo", neck=MOCO_NECK, head=MOCO_HEAD, queue_len=16),
    "DSPNet": lambda: build_slimmable("DSPNet"),
    "SlimmableSimSiam": lambda: build_slimmable("SlimmableSimSiam"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_loss_makes_all_of_its_tensors_on_the_card(kind):
    model, mode = on_cuda(MODELS[kind]())
    inputs = fake_views(mode)
    for name in (FULL, PATH) if isinstance(model, SDR) else (FULL,):
        with mode:
            losses = model.loss(inputs, samples(name, 4) if isinstance(model, SDR) else None)
        assert {value.device.type for value in losses.values()} == {"cuda"}
        assert any("loss" in key for key in losses)
        if isinstance(model, MovingTarget):  # what TargetEMAHook does after a step
            with mode:
                model.update_target(0.1)
            assert {tensor.device.type for tensor in model.target_net.state_dict().values()} == {"cuda"}


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
