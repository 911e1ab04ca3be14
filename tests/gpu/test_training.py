"""Steps under mixed precision and channels-last are those of single precision, and a resumed run goes on to the bit."""

import io

import pytest
import torch
import torch.distributed as dist
from torch.optim import SGD

from mmssl_dynamic.engine import SubnetAmpOptimWrapper, SubnetOptimWrapper
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.subnets import FULL
from tests.helpers import build_sdr, build_slimmable, samples, views

PATH = "0-3-1-2"


def batch(device, seed=0, layout=torch.contiguous_format):
    return [view.to(device, memory_format=layout) for view in views(seed)]


def loss_and_gradient(model, inputs, name):
    losses = model.loss(inputs, samples(name, len(inputs[0])))
    loss = sum(value.float() for key, value in losses.items() if "loss" in key)
    loss.backward()
    gradients = torch.cat([p.grad.float().flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad(set_to_none=True)
    return loss.detach(), gradients


def build(kind, device):
    return (build_sdr() if kind == "SDR" else build_slimmable(kind)).to(device)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize(("kind", "name"), [("SDR", FULL), ("SDR", PATH), ("DSPNet", FULL)])
def test_mixed_precision_gives_the_loss_and_the_direction_of_single_precision(device, dtype, kind, name):
    loss, gradient = loss_and_gradient(build(kind, device), batch(device), name)
    with torch.autocast(device.type, dtype):
        model = build(kind, device)
        mixed, other = loss_and_gradient(model, batch(device), name)
    assert other.isfinite().all()
    torch.testing.assert_close(mixed, loss, rtol=0.05, atol=0.02)
    # BatchNorm over eight images of one pixel turns the three digits of bf16 into a gradient that is far off.
    assert torch.cosine_similarity(gradient, other, dim=0) > (0.95 if dtype == torch.float16 else 0.2)


@pytest.mark.parametrize(("kind", "name"), [("SDR", PATH), ("DSPNet", FULL)])
def test_channels_last_gives_the_same_step(device, kind, name):
    loss, gradient = loss_and_gradient(build(kind, device), batch(device), name)
    model = build(kind, device).to(memory_format=torch.channels_last)
    other, same = loss_and_gradient(model, batch(device, layout=torch.channels_last), name)
    torch.testing.assert_close(other, loss, rtol=1e-3, atol=1e-4)
    assert torch.cosine_similarity(gradient, same, dim=0) > 0.999


def wrapper_of(model, device):
    optimizer = SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
    if device.type == "cuda":
        return SubnetAmpOptimWrapper(optimizer=optimizer, dtype="float16", loss_scale="dynamic")
    return SubnetOptimWrapper(optimizer)  # mmengine's mixed precision asks for a card


def test_a_resumed_run_goes_on_to_the_bit(device):
    names = (FULL, PATH, FULL, "0-0-0-1")

    def steps(model, wrapper, chosen):
        for step in chosen:
            data = dict(inputs=batch(device, step), data_samples=samples(names[step]))
            model.train_step(data, wrapper)

    whole = build("SDR", device)
    whole_wrapper = wrapper_of(whole, device)
    steps(whole, whole_wrapper, range(4))

    begun = build("SDR", device)
    begun_wrapper = wrapper_of(begun, device)
    steps(begun, begun_wrapper, range(2))
    file = io.BytesIO()
    torch.save([begun.state_dict(), begun_wrapper.state_dict()], file)
    file.seek(0)
    resumed = build("SDR", device)
    resumed_wrapper = wrapper_of(resumed, device)
    weights, state = torch.load(file, weights_only=False)
    resumed.load_state_dict(weights)
    resumed_wrapper.load_state_dict(state)
    steps(resumed, resumed_wrapper, range(2, 4))
    start = build("SDR", device).state_dict()
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key
    assert not torch.equal(whole.state_dict()["backbone.conv1.weight"], start["backbone.conv1.weight"])


def test_one_process_of_the_cards_own_backend_works(device, tmp_path):
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        total = torch.ones(3, device=device)
        dist.all_reduce(total)
        assert total.tolist() == [1.0, 1.0, 1.0]
        assert Processes.now() == Processes()
    finally:
        dist.destroy_process_group()
