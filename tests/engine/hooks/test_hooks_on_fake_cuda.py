"""Every hook that makes tensors makes them where the model is, and so does the step of the optimiser between them."""

from types import SimpleNamespace

import pytest
import torch
from torch.optim import SGD

from mmssl_dynamic.engine import SubnetOptimWrapper
from mmssl_dynamic.engine.hooks import (
    CalibrateBNHook,
    GroupRegularizationHook,
    KeepPrunedHook,
    TargetEMAHook,
    finite_loss_hook,
)
from mmssl_dynamic.errors import DivergedError
from mmssl_dynamic.models.selfsup.momentum_bn import MomentumBatchNorm
from mmssl_dynamic.subnets import FULL
from tests.fake_cuda import answer, fake_views, kinds, on_cuda
from tests.helpers import build_sdr, build_slimmable, samples

PATH = "0-3-1-2"
"""A path of 256."""


def runner_of(model, **more):
    """What hooks read of a Runner."""
    return SimpleNamespace(
        model=model,
        cfg={},
        seed=0,
        _randomness_cfg={},
        logger=SimpleNamespace(info=lambda text: None),
        message_hub=SimpleNamespace(update_scalar=lambda *_: None, runtime_info={}),
        **{"iter": 5, "epoch": 5, "max_iters": 10, "max_epochs": 10, **more},
    )


def optimizer_of(model, mode):
    """An optimiser whose parameters have gradients: a backward pass takes a real card."""
    with mode:
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    return SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)


def state_of(optimizer):
    return [value for entry in optimizer.state.values() for value in entry.values() if isinstance(value, torch.Tensor)]


def test_group_regularization_weighs_gradients_with_what_lies_beside_them():
    model, mode = on_cuda(build_slimmable("DSPNet"))
    hook, optimizer = GroupRegularizationHook(alpha=0.1), optimizer_of(model, mode)
    run = runner_of(model, optim_wrapper=SimpleNamespace(optimizer=optimizer))
    with mode:
        hook.before_train(run)
        hook.before_train_iter(run, 0)
        optimizer.step()
        assert kinds(*(index for _, index in hook._members(model))) == {"cuda"}
    hook.after_train(run)
    assert kinds(*state_of(optimizer)) == {"cuda"}


def test_a_step_of_a_path_saves_and_restores_on_the_card(monkeypatch):
    answer(monkeypatch, True)
    model, mode = on_cuda(build_sdr())
    wrapper = SubnetOptimWrapper(optimizer_of(model, mode), rarity_power=0.5)
    inputs = fake_views(mode)
    with mode:
        wrapper.begin_phase(model, {FULL: 0.2, PATH: 0.4, "0-0-1-1": 0.4})  # as ProgressivePhaseHook does
        with wrapper.optim_context(model):
            model.loss(inputs, samples(PATH, 4))
        wrapper.step()
    assert len(wrapper._regions) > 20
    assert kinds(*wrapper._factors.values(), *state_of(wrapper.optimizer)) == {"cuda"}


def test_the_moving_average_and_momentum_bn_stay_on_the_card():
    model, mode = on_cuda(build_slimmable("DSPNet", target_bn="momentum"))
    run, inputs = runner_of(model, optim_wrapper=SimpleNamespace()), fake_views(mode)
    hook = TargetEMAHook(base_momentum=0.1)
    hook.before_train(run)
    hook.before_train_iter(run, 0)
    with mode:
        model.loss(inputs)
        hook.after_train_iter(run, 0)
    norms = [module for module in model.target_net.modules() if isinstance(module, MomentumBatchNorm)]
    assert {norm.batch_weight for norm in norms} == {0.5}
    assert kinds(*model.target_net.state_dict().values()) == {"cuda"}


def test_pruned_weights_are_masked_on_the_card(monkeypatch):
    answer(monkeypatch, False)  # not all weights are left
    model, mode = on_cuda(build_slimmable("DSPNet"))
    hook, run = KeepPrunedHook(), runner_of(model)
    with mode:
        hook.before_train(run)
        hook.after_train_iter(run, 0)
    assert kinds(*(tensor for pair in hook._kept for tensor in pair)) == {"cuda"}


class Sample:
    """Images that a card has got from the loader, as those of ``CalibrationImages``."""

    def __init__(self, mode):
        self.mode = mode

    def __len__(self):
        return 8

    def batches(self, indices, batch_size, device):
        assert torch.device(device).type == "cuda"
        return [fake_views(self.mode), fake_views(self.mode)]


def test_statistics_for_a_validation_are_made_and_put_back_on_the_card():
    model, mode = on_cuda(build_slimmable("DSPNet"))
    net, hook, run = model.backbone, CalibrateBNHook(), runner_of(model)
    hook._data = Sample(mode)
    with mode:
        hook.before_val_epoch(run)
        for name in net.subnets:
            assert kinds(*(tensor for pair in net.bn_statistics(name).values() for tensor in pair)) == {"cuda"}
        assert kinds(*(tensor for pair in hook._running.values() for tensor in pair)) == {"cuda"}
        hook.after_val_epoch(run)
    assert hook._running is None


def test_what_processes_tell_each_other_of_a_loss_lies_on_the_card(monkeypatch):
    sent = []
    monkeypatch.setattr(finite_loss_hook, "get_world_size", lambda: 2)
    monkeypatch.setattr(finite_loss_hook, "all_reduce", lambda tensor, op: sent.append(tensor))
    answer(monkeypatch, 1.0)  # another process has a loss that is not finite
    model, mode = on_cuda(build_slimmable("DSPNet"))
    with mode, pytest.raises(DivergedError, match="the loss of another process is nan"):
        finite_loss_hook.FiniteLossHook().after_train_iter(runner_of(model), 0, outputs={"loss": 1.0})
    assert kinds(*sent) == {"cuda"}
