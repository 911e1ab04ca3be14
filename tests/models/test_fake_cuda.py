"""Every tensor is made where the model is: losses, calibration and routing on fake CUDA tensors, which need no card.

PyTorch's fake tensors have a device and no values, and an operation on tensors of two devices is an error.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmssl_dynamic.calibration import pooled_statistics
from mmssl_dynamic.forecast.step_cost import become_fake
from mmssl_dynamic.models import SDRResNet
from mmssl_dynamic.models.selfsup import SDR
from mmssl_dynamic.subnets import FULL
from tests.helpers import MOCO_HEAD, MOCO_NECK, build_sdr, build_slimmable, samples

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


def test_statistics_and_features_are_computed_on_the_card():
    net = SDRResNet(18, stage_channels=(8, 8, 12, 16), stage_groups=(1, 1, 2, 2), stem_channels=8)
    twin, mode = on_cuda(net.static("0-0-1-0"))
    inputs = fake_views(mode)[:1]
    with mode:
        statistics = pooled_statistics(twin, inputs)
    assert {tensor.device.type for pair in statistics.values() for tensor in pair} == {"cuda"}


def test_a_tensor_on_the_wrong_device_is_found():
    model, mode = on_cuda(build_sdr())
    inputs = fake_views(mode)
    original = model.ssl_loss
    model.ssl_loss = lambda *given: original(*given) + torch.arange(4.0).mean(0, keepdim=True)
    with mode, pytest.raises(RuntimeError, match="two different devices"):
        model.loss(inputs, samples(FULL, 4))
