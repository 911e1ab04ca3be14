"""Mixed precision on a processor: what is computed in bf16, and what stays in floats."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from mmssl_dynamic.engine import Bf16OptimWrapper, SubnetBf16OptimWrapper, SubnetOptimWrapper
from mmssl_dynamic.engine.hooks.resume_check_hook import _precision
from mmssl_dynamic.models.elastic import inactive_blocks
from mmssl_dynamic.subnets import FULL
from tests.helpers import MOCO_HEAD, MOCO_NECK, build_sdr, samples, views

PATH = "0-3-1-2"


def optimizer(model):
    return torch.optim.SGD(model.parameters(), lr=0.05)


def losses(model, wrapper, name=PATH):
    with wrapper.optim_context(model):
        # BatchNorm over a few images of one pixel would turn three digits into a gradient that is far off.
        return model.loss([view.tile(1, 1, 2, 2) for view in views(0, 32)], samples(name, 32))


@pytest.mark.parametrize("name", [FULL, PATH])
def test_a_step_is_one_of_floats_but_for_their_rounding(name):
    model = build_sdr()
    other = copy.deepcopy(model)
    found = {}
    for network, kind in ((model, SubnetBf16OptimWrapper), (other, SubnetOptimWrapper)):
        wrapper = kind(optimizer(network))
        found[kind] = losses(network, wrapper, name)
        wrapper.update_params(sum(value for key, value in found[kind].items() if key.startswith("loss")))
    low, full = found.values()
    assert float(low["loss_ssl"]) == pytest.approx(float(full["loss_ssl"]), abs=0.05)
    assert float(low["loss_ssl"]) != float(full["loss_ssl"])
    moved = torch.cat([(a - b).flatten() for a, b in zip(model.parameters(), build_sdr().parameters())])
    expected = torch.cat([(a - b).flatten() for a, b in zip(other.parameters(), build_sdr().parameters())])
    # Gradients of random weights are small sums of large numbers; two unrelated ones have a cosine of about 0.
    assert float(torch.cosine_similarity(moved, expected, dim=0)) > 0.5
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    regions = model.trained_regions()
    assert bool(regions) == (name == PATH)
    for parameter, first in zip(model.parameters(), build_sdr().parameters()):
        for block in inactive_blocks(parameter, regions.get(parameter, ())):
            assert torch.equal(parameter[block], first[block])


def test_networks_compute_in_bf16_and_losses_in_floats():
    model = build_sdr()
    seen = set()

    def note(module, args, out):
        seen.add(out.dtype)

    for layer in (model.backbone.layer4[0].conv1, model.head.predictor.fc1):
        layer.register_forward_hook(note)
    found = losses(model, Bf16OptimWrapper(optimizer(model)))
    assert seen == {torch.bfloat16}
    assert {value.dtype for key, value in found.items() if key.startswith("loss")} == {torch.float32}
    # More digits than bf16 has.
    assert all(float(value) != float(value.bfloat16()) for key, value in found.items() if key.startswith("loss"))


def test_nothing_of_it_is_left_after_the_block():
    model = build_sdr()
    before = losses(model, OptimWrapper(optimizer(model)))["loss_ssl"]
    losses(model, Bf16OptimWrapper(optimizer(model)))
    assert not torch.is_autocast_enabled("cpu")
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert torch.equal(losses(model, OptimWrapper(optimizer(model)))["loss_ssl"], before)


class OwnLoss(nn.Module):
    """Of a user's module, which no package's ``losses`` holds."""

    def forward(self, prediction, target):
        return -torch.cosine_similarity(prediction, target, dim=1).mean()


@pytest.mark.parametrize(
    "loss", [OwnLoss(), nn.CosineEmbeddingLoss(), nn.MSELoss()], ids=lambda loss: type(loss).__name__
)
def test_whatever_computes_a_loss_gets_floats(loss):
    seen = []

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.loss_module = nn.Linear(8, 8), loss

        def forward(self, rows):
            prediction = self.fc(rows)
            seen.append(prediction.dtype)
            more = [torch.ones(len(rows))] if isinstance(loss, nn.CosineEmbeddingLoss) else []
            return self.loss_module(prediction, rows.bfloat16(), *more)

    handle = loss.register_forward_hook(lambda module, args, out: seen.extend(arg.dtype for arg in args))
    head = Head()
    with Bf16OptimWrapper(optimizer(head)).optim_context(head):
        value = head(torch.randn(4, 8))
    handle.remove()
    assert seen[0] is torch.bfloat16
    assert set(seen[1:]) == {torch.float32}
    assert value.dtype is torch.float32


def test_keys_of_moco_have_length_one_to_the_digits_of_floats():
    model = build_sdr(kind="SDRMoCo", neck=MOCO_NECK, head=MOCO_HEAD, queue_len=32)
    losses(model, Bf16OptimWrapper(optimizer(model)))
    assert int(model.keys_seen) == 32
    torch.testing.assert_close(model.queue.norm(dim=0), torch.ones(32), atol=1e-6, rtol=0)


def test_the_floats_of_several_optimisers_are_told_too():
    layers = [torch.nn.Linear(1, 1) for _ in range(2)]
    kinds = (OptimWrapper, Bf16OptimWrapper)
    wrappers = [kind(torch.optim.SGD(layer.parameters(), lr=0.1)) for kind, layer in zip(kinds, layers)]
    mixed = SimpleNamespace(optim_wrapper=OptimWrapperDict(first=wrappers[0], second=wrappers[1]))
    assert _precision(mixed) == "bfloat16 and float32"
    assert _precision(SimpleNamespace(optim_wrapper=OptimWrapperDict(only=wrappers[1]))) == "bfloat16"
    assert [_precision(SimpleNamespace(optim_wrapper=wrapper)) for wrapper in wrappers] == ["float32", "bfloat16"]
