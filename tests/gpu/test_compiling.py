"""Steps of compiled backbones are those of uncompiled ones, on a card by inductor; on the CPU graphs are traced alone.

Inductor takes a C++ compiler minutes on the CPU.
"""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from mmssl_dynamic.engine.compiling import compile_backbones, compile_options
from mmssl_dynamic.subnets import FULL
from tests.helpers import build_sdr, build_slimmable, randomise, samples, views

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("dynamo")]

PATHS = ("0-0-0-1", "0-0-0-3", "0-0-0-2")


def sdr(distillation=None):
    return build_sdr((1, 1, 1, 4), distillation=distillation)


def dspnet():
    return build_slimmable("DSPNet", channels=((16, 16, 24, 32),), blocks=[[1, 1, 1, 1]], target_bn="momentum")


MODELS = {
    "SDR": (sdr, PATHS, 2),
    "SDR with SiamKD": (lambda: sdr(dict(type="mmssl_dynamic.SiamKD")), PATHS, 3),
    "DSPNet": (dspnet, (FULL,), 1),
}


def step(model, name, device):
    """Loss and gradient of a network."""
    inputs = [view.to(device, memory_format=torch.channels_last) for view in views(0, 64)]
    losses = model.loss(inputs, samples(name, 64))
    loss = sum(value.float() for key, value in losses.items() if "loss" in key)
    loss.backward()
    gradient = torch.cat([p.grad.float().flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad(set_to_none=True)
    return loss.detach(), gradient


@pytest.mark.parametrize(
    ("kind", "bf16"), [("SDR", False), ("SDR with SiamKD", True), ("DSPNet", False), ("DSPNet", True)]
)
def test_a_compiled_step_is_the_uncompiled_one_and_a_graph_serves_all_paths(device, kind, bf16):
    build, names, graphs = MODELS[kind]
    options = compile_options(True if device.type == "cuda" else dict(backend="eager"))
    model, compiled = (build().to(device, memory_format=torch.channels_last) for _ in range(2))
    compile_backbones(compiled, options)
    for name in names:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            (loss, gradient), (found, other) = step(model, name, device), step(compiled, name, device)
        assert loss.isfinite()
        # bf16 has three digits, and a graph rounds less often than its operations one by one.
        torch.testing.assert_close(found, loss, rtol=5e-2 if bf16 else 1e-3, atol=2e-2 if bf16 else 1e-3)
        assert cosine_similarity(gradient, other, dim=0) > (0.8 if bf16 else 0.99)
    made = compiled.backbone.graphs.made
    print(f"{kind}: {dict(made)}")
    assert sum(made.values()) == graphs
    assert sum(made[name] for name in names[1:]) == 0


def test_a_compiled_twin_gives_what_the_active_network_does(device):
    net = randomise(build_sdr((1, 1, 1, 2)).backbone).to(device).eval()
    images = views(0)[0].to(device)
    twin = torch.compile(net.static("0-0-0-1"), backend="inductor" if device.type == "cuda" else "eager")
    with net.subnet("0-0-0-1"), torch.no_grad():
        torch.testing.assert_close(twin(images), net(images), rtol=1e-3, atol=1e-4)
