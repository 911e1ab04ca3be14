import pytest
import torch
from mmengine.optim import OptimWrapper

from mmssl_dynamic.engine import SubnetAmpOptimWrapper, SubnetOptimWrapper
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.subnets import FULL
from tests.helpers import build_sdr, samples, views

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


def snapshot(model, optimizer):
    """Copies of every weight and every state tensor of its shape."""
    out = {}
    for name, p in model.named_parameters():
        out[name, "weight"] = p.detach().clone()
        for key, value in optimizer.state.get(p, {}).items():
            if isinstance(value, torch.Tensor) and value.shape == p.shape:
                out[name, key] = value.clone()
    return out


def step(model, wrapper, name, seed):
    with wrapper.optim_context(model):
        losses = model.loss(views(seed), samples(name))
        loss = losses["loss_ssl"] + losses.get("loss_kd", 0)
    wrapper.update_params(loss)


def active_mask(model, name, parameter_name):
    parameter = dict(model.named_parameters())[parameter_name]
    model.trained_subnet = name
    region = model.trained_regions().get(parameter)
    mask = torch.ones_like(parameter, dtype=torch.bool)
    for dimension, selection in enumerate(region or ()):
        if selection is not None:
            inside = torch.zeros(parameter.shape[dimension], dtype=torch.bool)
            for a, b in selection.ranges:
                inside[a:b] = True
            mask &= inside.view([-1 if d == dimension else 1 for d in range(parameter.ndim)])
    return mask


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("first", [FULL, "1-1-1-1"], ids=["after-full", "first-step-of-all"])
def test_inactive_groups_keep_every_bit_of_weights_and_optimizer_state(optimizer, first):
    model = build_sdr()
    wrapper = SubnetOptimWrapper(OPTIMIZERS[optimizer](model.parameters()))
    step(model, wrapper, first, 0)
    step(model, wrapper, first, 1)
    before = snapshot(model, wrapper.optimizer)
    name = "0-3-1-2"
    step(model, wrapper, name, 2)
    after = snapshot(model, wrapper.optimizer)
    assert len({key for _, key in after}) > 1  # momentum is looked at, too
    moved = 0
    for (parameter, key), value in after.items():
        mask = active_mask(model, name, parameter)
        assert torch.equal(value[~mask], before[parameter, key][~mask]), (parameter, key)
        moved += int((value[mask] != before[parameter, key][mask]).sum())
    assert moved > 1000


def test_state_made_in_a_subnets_step_starts_at_zero_outside_it():
    model = build_sdr()
    wrapper = SubnetOptimWrapper(OPTIMIZERS["sgd"](model.parameters()))
    step(model, wrapper, "0-3-1-2", 0)
    weight = model.backbone.layer4[0].conv1.weight
    mask = active_mask(model, "0-3-1-2", "backbone.layer4.0.conv1.weight")
    momentum = wrapper.optimizer.state[weight]["momentum_buffer"]
    assert torch.count_nonzero(momentum[~mask]) == 0
    assert torch.count_nonzero(momentum[mask]) > 0


def test_the_plain_optim_wrapper_would_move_inactive_groups():
    """The property above is worth something: weight decay and momentum do move them without it."""
    model = build_sdr()
    wrapper = OptimWrapper(OPTIMIZERS["sgd"](model.parameters()))
    step(model, wrapper, FULL, 0)
    before = snapshot(model, wrapper.optimizer)
    step(model, wrapper, "0-3-1-2", 1)
    mask = active_mask(model, "0-3-1-2", "backbone.layer4.0.conv1.weight")
    key = ("backbone.layer4.0.conv1.weight", "weight")
    assert not torch.equal(snapshot(model, wrapper.optimizer)[key][~mask], before[key][~mask])


def test_a_full_step_equals_the_plain_wrappers():
    models = [build_sdr(), build_sdr()]
    wrappers = [cls(OPTIMIZERS["sgd"](m.parameters())) for cls, m in zip((SubnetOptimWrapper, OptimWrapper), models)]
    for model, wrapper in zip(models, wrappers):
        for seed in range(3):
            step(model, wrapper, FULL, seed)
    for a, b in zip(models[0].parameters(), models[1].parameters()):
        assert torch.equal(a, b)


def test_gradients_accumulate_over_one_subnet_only():
    model = build_sdr()
    wrapper = SubnetOptimWrapper(OPTIMIZERS["sgd"](model.parameters()), accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 8)
    before = model.backbone.conv1.weight.clone()
    step(model, wrapper, "0-0-0-0", 0)
    assert torch.equal(before, model.backbone.conv1.weight)
    with pytest.raises(ConfigError, match="batch_sampler.repeats"):
        step(model, wrapper, "0-0-0-1", 1)
    step(model, wrapper, "0-0-0-0", 2)
    assert not torch.equal(before, model.backbone.conv1.weight)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="mmengine's AmpOptimWrapper needs a GPU")
def test_amp_leaves_inactive_groups_untouched():
    model = build_sdr().cuda()
    wrapper = SubnetAmpOptimWrapper(optimizer=OPTIMIZERS["sgd"](model.parameters()))
    with wrapper.optim_context(model):
        loss = model.loss([v.cuda() for v in views(0)], samples("0-3-1-2"))["loss_ssl"]
    before = model.backbone.layer4[0].conv1.weight.detach().clone()
    wrapper.update_params(loss)
    mask = active_mask(model, "0-3-1-2", "backbone.layer4.0.conv1.weight")
    assert torch.equal(model.backbone.layer4[0].conv1.weight[~mask], before[~mask])
