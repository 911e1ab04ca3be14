"""Sandwich training's relatives, through the hooks that set them."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch.optim import SGD, Adam, AdamW, RMSprop

from mmssl_dynamic.engine import GroupRegularizationHook, SandwichHook
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones.slimmable import check_any_width
from mmssl_dynamic.models.elastic import ElasticBatchNorm, ElasticConv2d
from tests.helpers import build_slimmable, views


def runner_of(model, iters=40, epochs=10, step=0, optimizer=None):
    wrapper = OptimWrapper(optimizer or SGD(model.parameters(), lr=0.1))
    return SimpleNamespace(
        model=model,
        seed=0,
        iter=step,
        epoch=step * epochs // iters,
        max_iters=iters,
        max_epochs=epochs,
        optim_wrapper=wrapper,
        logger=SimpleNamespace(info=lambda text: None),
        _randomness_cfg={},
    )


@pytest.fixture(scope="module")
def model():
    return build_slimmable("SlimmableSimSiam", channels=((8, 8, 8, 8), (8, 8, 8, 16), (8, 8, 16, 16), (8, 16, 16, 16)))


def drawn(hook, model, steps, **options):
    found = []
    for step in steps:
        hook.before_train_iter(runner_of(model, step=step, **options), 0)
        found.append(model.networks)
    return found


def test_dynamic_sampling_opens_the_range_of_listed_networks(model):
    space = model.backbone.space
    low, high = space.widths[0], space.widths[-1]
    hook = SandwichHook(num_networks=3, warmup_epochs=0, dynamic_sampling=True)
    quarters = [drawn(hook, model, range(start, start + 10)) for start in (0, 10, 20, 30)]
    for part, networks in enumerate(quarters):
        smallest = min(space.member(name)[0] for names in networks for name in names)
        assert smallest >= low + (3 - part) / 3 * (high - low) - 2e-3
        assert all(names[-1] == space.largest for names in networks)
    assert set(quarters[0]) == {(space.largest,)}
    assert all(names[0] == space.smallest for names in quarters[3])


def test_a_small_network_is_drawn_more_often_when_favoured(model):
    between = model.backbone.subnets[1:-1]
    shares = []
    for favour in (0.0, 12.0):
        hook = SandwichHook(num_networks=3, warmup_epochs=0, favour_small=favour)
        networks = [name for names in drawn(hook, model, range(300), iters=300) for name in names[1:-1]]
        shares.append(sum(networks.count(name) for name in between[: len(between) // 2]) / len(networks))
    assert shares[0] == pytest.approx(0.5, abs=0.1)
    assert shares[1] > 0.8


@pytest.mark.parametrize("how", ["equal", "width", "largest"])
def test_a_step_trains_the_weighted_sum_of_its_networks_losses(how):
    one, other = build_slimmable("DSPNet"), build_slimmable("DSPNet")
    SandwichHook(num_networks=3, warmup_epochs=0, loss_weights=how).before_train_iter(runner_of(one), 0)
    other.networks = one.networks
    losses = other.loss(views(0))
    weights = one.loss_weights or dict.fromkeys(one.networks, 1.0)
    assert (how == "equal") == (set(weights.values()) == {1.0})
    total = sum(weights[name] * losses[f"loss_{name}"] for name in one.networks)
    total.backward()
    kept = {}
    one.before_update = lambda: kept.update({n: p.grad.clone() for n, p in one.named_parameters() if p.requires_grad})
    logged = one.train_step(dict(inputs=views(0), data_samples=None), OptimWrapper(SGD(one.parameters(), lr=0.1)))
    torch.testing.assert_close(logged["loss"], total.detach())
    for name, parameter in other.named_parameters():
        if parameter.requires_grad and parameter.grad is not None:
            torch.testing.assert_close(kept[name], parameter.grad, msg=name)
    summed = build_slimmable("DSPNet")
    summed.networks, summed.loss_weights = one.networks, one.loss_weights
    torch.testing.assert_close(summed.parse_losses(summed.loss(views(0)))[0], total)


@pytest.mark.parametrize(("step", "alpha"), [(0, 0.0), (12, 0.05 / 3), (20, 0.05), (39, 0.05)])
def test_group_regularization_is_a_penalty_that_is_smaller_for_later_channels(step, alpha):
    """SGD's weight decay with the hook equals SGD without one on a loss with the penalty of every group."""
    decay, grouped = 0.1, []
    one, other = build_slimmable("SlimmableSimSiam"), build_slimmable("SlimmableSimSiam")
    optimizer = SGD(one.parameters(), lr=0.1, weight_decay=decay)
    hook = GroupRegularizationHook(alpha=0.05, groups=4, warmup_epochs=2)
    runner = runner_of(one, step=step, optimizer=optimizer)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    one.train_step(dict(inputs=views(0), data_samples=None), runner.optim_wrapper)
    hook.after_train(runner)
    loss = sum(v for k, v in other.loss(views(0)).items() if "loss" in k)
    for module in other.backbone.modules():
        if isinstance(module, ElasticConv2d | ElasticBatchNorm):
            for parameter in module.parameters(recurse=False):
                grouped.append(id(parameter))
                size = len(parameter) // 4
                for group in range(4):
                    part = parameter[group * size : (group + 1) * size]
                    loss = loss + decay / 2 * (1 - alpha * group) * part.square().sum()
    loss = loss + sum(decay / 2 * p.square().sum() for p in other.parameters() if id(p) not in grouped)
    loss.backward()
    SGD(other.parameters(), lr=0.1).step()
    for (name, mine), theirs in zip(one.named_parameters(), other.parameters()):
        torch.testing.assert_close(mine, theirs, msg=name, rtol=1e-5, atol=1e-6)
    assert grouped
    assert not optimizer._optimizer_step_pre_hooks


def test_options_that_cannot_be_are_refused():
    for options, message in (
        (dict(favour_small=-1), "favour_small=-1 must be a number, 0 or more"),
        (dict(num_networks="two"), "num_networks='two' must be a number, 1 or more"),
        (dict(warmup_epochs=float("nan")), "warmup_epochs=nan must be a number"),
        (dict(loss_weights="size"), "loss_weights='size' must be one of equal, width, largest"),
        (dict(dynamic_sampling="no"), "dynamic_sampling='no' must be True or False"),
    ):
        with pytest.raises(ConfigError, match=f"SandwichHook.{message}"):
            SandwichHook(**options)
    with pytest.raises(ConfigError, match=r"alpha=0.5 and groups=8 with 0 <= alpha"):
        GroupRegularizationHook(alpha=0.5, groups=8)
    with pytest.raises(ConfigError, match="any_width='no' must be True or False"):
        check_any_width("no", None)
    model = build_slimmable("DSPNet")
    for optimizer, fits in ((SGD, True), (Adam, True), (AdamW, False), (RMSprop, False)):
        runner = SimpleNamespace(
            model=model, optim_wrapper=SimpleNamespace(optimizer=optimizer(model.parameters(), lr=0.1))
        )
        hook = GroupRegularizationHook(alpha=0.1)
        with nullcontext() if fits else pytest.raises(ConfigError, match=f"SGD does, and {optimizer.__name__} does"):
            hook.before_train(runner)
            hook.after_train(runner)
