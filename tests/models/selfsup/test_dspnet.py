"""DSPNet with one network is BYOL; with several, its gradients are those of the summed loss."""

import math

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from torch.optim import SGD

from mmssl_dynamic.engine.hooks.target_ema_hook import half_cosine
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.forecast.step_cost import LaunchCounter
from mmssl_dynamic.models.sandwich_draws import draw_networks
from mmssl_dynamic.models.selfsup.momentum_bn import MomentumBatchNorm, update_running
from tests.helpers import build_slimmable, byol_parts, byol_target, online_and_head, views

OPTIONS = dict(lr=0.05, momentum=0.9, weight_decay=1e-4)


def batch(seed):
    return dict(inputs=views(seed), data_samples=None)


def test_one_network_equals_mmpretrains_byol_with_the_target_moved_after_the_step_for_20_steps():
    ours = build_slimmable("DSPNet", channels=[[8, 8, 16, 16]], blocks=[[1, 1, 1, 1]])
    neck, head = byol_parts()
    byol = MODELS.build(
        dict(
            type="BYOL",
            base_momentum=0.01,
            backbone=dict(
                type="mmssl_dynamic.StaticResNet",
                block="basic",
                blocks=(1, 1, 1, 1),
                stage_channels=(8, 8, 16, 16),
                stem_channels=8,
            ),
            neck=dict(neck, type="NonLinearNeck", in_channels=16),
            head=head,
        )
    ).train()
    state = {k: v for k, v in ours.state_dict().items() if not k.startswith("target_net") and k != "backbone.switches"}
    byol.load_state_dict(state, strict=False)
    move = byol_target(byol, steps=20)
    mine, theirs = OptimWrapper(SGD(ours.parameters(), **OPTIONS)), SGD(online_and_head(byol), **OPTIONS)
    losses = []
    for step in range(20):
        logged = ours.train_step(batch(step), mine)
        ours.update_target(0.01 * half_cosine(step + 1, 20))
        theirs.zero_grad()
        reference = byol.loss(views(step), None)["loss"]
        reference.backward()
        theirs.step()
        move()
        # To the bit until mmpretrain's cosine, which is computed in single precision, rounds another way.
        assert float(logged["loss"]) == pytest.approx(float(reference.detach()), rel=0 if step < 5 else 1e-5), step
        losses.append(float(reference.detach()))
    assert len(set(losses)) == 20
    for name, value in byol.backbone.state_dict().items():
        torch.testing.assert_close(ours.backbone.state_dict()[name], value, msg=name)


@pytest.mark.parametrize("kind", ["DSPNet", "SlimmableSimSiam"])
def test_accumulated_gradients_are_the_gradient_of_the_summed_loss(kind):
    one, other = build_slimmable(kind), build_slimmable(kind)
    for model in (one, other):
        model.networks = model.backbone.subnets
    (loss, _) = other.parse_losses({k: v for k, v in other.loss(views(0)).items() if "std" not in k})
    loss.backward()
    kept = {}
    one.before_update = lambda: kept.update({n: p.grad.clone() for n, p in one.named_parameters() if p.requires_grad})
    logged = one.train_step(batch(0), OptimWrapper(SGD(one.parameters(), lr=0.1)))
    torch.testing.assert_close(logged["loss"], loss.detach())
    for name, parameter in other.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(kept[name], parameter.grad, msg=name)
    assert f"loss_{one.backbone.subnets[0]}" in logged
    assert f"std_{one.backbone.subnets[-1]}" in logged


def test_gradient_accumulation_over_two_passes_is_one_step_of_their_mean():
    one, other = build_slimmable("DSPNet"), build_slimmable("DSPNet")
    wrapper = OptimWrapper(SGD(one.parameters(), lr=0.1), accumulative_counts=2)
    wrapper.initialize_count_status(one, 0, 2)
    before = {n: p.clone() for n, p in one.named_parameters()}
    one.train_step(batch(0), wrapper)
    assert all(torch.equal(p, before[n]) for n, p in one.named_parameters())
    one.train_step(batch(1), wrapper)
    optimizer = SGD(other.parameters(), lr=0.1)
    for seed in range(2):
        loss = sum(v for k, v in other.loss(views(seed)).items() if k.startswith("loss"))
        (loss / 2).backward()
    optimizer.step()
    for (name, mine), theirs in zip(one.named_parameters(), other.parameters()):
        torch.testing.assert_close(mine, theirs, msg=name)
    assert not torch.equal(one.backbone.conv1.weight, before["backbone.conv1.weight"])


def test_the_target_runs_at_full_size_once_per_view_whatever_is_sampled():
    model = build_slimmable("DSPNet")
    seen = []
    model.target_net[0].register_forward_hook(lambda m, i, o: seen.append((m.active, o[0].shape[1])))
    model.networks = model.backbone.subnets
    model.train_step(batch(0), OptimWrapper(SGD(model.parameters(), lr=0.1)))
    assert seen == [("full", 32), ("full", 32)]
    assert all(not p.requires_grad for p in model.target_net.parameters())


def test_gradients_are_freed_network_by_network():
    """No network's graph is alive while the next one runs: peak memory is that of one network."""
    model = build_slimmable("DSPNet")
    model.networks = model.backbone.subnets
    alive = []

    class Graph:
        pass

    import weakref

    def watch(module, inputs, output):
        token = Graph()
        output[0].grad_fn.metadata["token"] = token
        alive.append((weakref.ref(token), sum(r() is not None for r, _ in alive)))

    model.backbone.register_forward_hook(watch)
    model.train_step(batch(0), OptimWrapper(SGD(model.parameters(), lr=0.1)))
    assert len(alive) == 2 * len(model.networks)
    assert max(count for _, count in alive) == 1  # the other view of the same network, at most


def test_the_target_moves_only_by_update_target():
    model = build_slimmable("DSPNet")
    online, target = model.backbone.conv1.weight, model.target_net[0].conv1.weight
    assert torch.equal(online, target)
    model.train_step(batch(0), OptimWrapper(SGD(model.parameters(), lr=0.5)))
    before = target.clone()
    assert not torch.equal(online, target)
    model.update_target(0.25)
    torch.testing.assert_close(target, 0.75 * before + 0.25 * online)


def test_momentum_bn_mixes_batch_and_running_statistics_and_is_plain_bn_at_the_start():
    model, plain = build_slimmable("DSPNet", target_bn="momentum"), build_slimmable("DSPNet")
    inputs = views(0)
    first = model.begin_step(inputs, None).targets
    for a, b in zip(first, plain.begin_step(inputs, None).targets):
        torch.testing.assert_close(a, b)
    norm = model.target_net[0].bn1
    x = [model.target_net[0].conv1(v) for v in inputs]
    means = torch.stack([v.mean((0, 2, 3)) for v in x])
    variances = torch.stack([v.var((0, 2, 3), unbiased=False) for v in x])
    torch.testing.assert_close(norm.running_mean, means.mean(0))  # m = 1: the mean of both views replaces the rest
    torch.testing.assert_close(norm.running_var, variances.mean(0))
    model.set_momentum_bn(0.25)
    y = norm(x[0])
    mixed = 0.25 * means[0] + 0.75 * means.mean(0), 0.25 * variances[0] + 0.75 * variances.mean(0)
    expected = torch.nn.functional.batch_norm(x[0], *mixed, norm.weight, norm.bias, False, 0.0, norm.eps)
    torch.testing.assert_close(y, expected)
    # The online network has plain BatchNorm, and the target still follows it by name.
    model.update_target(1.0)
    assert torch.equal(model.target_net[0].bn1.weight, model.backbone.bn1.weight)


def test_running_statistics_move_by_m_to_the_mean_of_the_views_in_a_few_operations():
    norms = [MomentumBatchNorm(torch.nn.BatchNorm2d(channels)) for channels in (3, 5)]
    for norm, m in zip(norms, (0.25, 0.75)):
        norm.batch_weight = m
    generator = torch.Generator().manual_seed(0)
    shown = [[torch.randn(4, c, 2, 2, generator=generator) for _ in range(2)] for c in (3, 5)]
    for norm, both in zip(norms, shown):
        for view in both:
            norm(view)
    with LaunchCounter() as launches:
        update_running(norms)
    assert launches.count == 3  # a sum, a quotient and a mixture, however many layers there are
    for norm, both in zip(norms, shown):
        m, mean = norm.batch_weight, sum(view.mean((0, 2, 3)) for view in both) / 2
        var = sum(view.var((0, 2, 3), unbiased=False) for view in both) / 2
        torch.testing.assert_close(norm.running_mean, m * mean)
        torch.testing.assert_close(norm.running_var, m * var + (1 - m))
    before = norms[0].running_mean.clone()
    update_running(norms)  # nothing was seen since
    assert torch.equal(norms[0].running_mean, before)


def test_every_network_learns_and_none_collapses():
    model = build_slimmable("DSPNet")
    model.networks = model.backbone.subnets
    wrapper = OptimWrapper(SGD(model.parameters(), lr=0.1, momentum=0.9))
    history = []
    for step in range(30):
        history.append(model.train_step(batch(step % 3), wrapper))
        model.update_target(0.05)
    for name in model.backbone.subnets:
        assert history[-1][f"loss_{name}"] < history[0][f"loss_{name}"]
        assert history[-1][f"std_{name}"] > 0.2 / math.sqrt(16)


def test_the_draw_holds_smallest_and_largest_and_depends_on_seed_and_step_alone():
    names = tuple("abcdefg")
    draws = [draw_networks(names, 4, 0, step) for step in range(200)]
    assert all(d[0] == "a" and d[-1] == "g" and len(set(d)) == 4 and list(d) == sorted(d) for d in draws)
    middle = [name for d in draws for name in d[1:-1]]
    assert all(middle.count(name) > 40 for name in "bcdef")  # 80 expected
    assert draws == [draw_networks(names, 4, 0, step) for step in range(200)]
    assert draws != [draw_networks(names, 4, 1, step) for step in range(200)]
    assert draw_networks(names, 1, 0, 0) == ("g",)
    assert draw_networks(names, 7, 0, 3) == names
    with pytest.raises(ConfigError, match="num_networks=8 must lie between 1 and the 7"):
        draw_networks(names, 8, 0, 0)


def test_wrong_models_are_refused_in_one_sentence():
    with pytest.raises(ConfigError, match="target_bn='x' must be"):
        build_slimmable("DSPNet", target_bn="x")
    neck, head = byol_parts()
    with pytest.raises(ConfigError, match="DSPNet needs a super-network such as"):
        MODELS.build(
            dict(
                type="mmssl_dynamic.DSPNet",
                backbone=dict(type="mmssl_dynamic.StaticResNet", depth=18),
                neck=dict(neck, type="mmssl_dynamic.ElasticProjector"),
                head=head,
            )
        )


@pytest.mark.parametrize("first_view", [None, 0, 1])
def test_smaller_networks_learn_from_the_same_view_too_where_asked(first_view):
    """POA: prediction and target of one view. The largest learns from the other view alone."""
    directions = "both" if first_view is None else "alternate"
    model = build_slimmable("DSPNet", same_view=0.5, directions=directions)
    plain = build_slimmable("DSPNet", directions=directions)
    for one in (model, plain):
        one.networks, one.first_view = one.backbone.subnets, first_view
        one.update_target(0.0)
        with torch.no_grad():
            for parameter in one.target_net.parameters():
                parameter.mul_(1.1)
    small = model.backbone.subnets[0]
    wanted = []
    for view in views(0) if first_view is None else [views(0)[first_view]]:
        with torch.no_grad(), model.backbone.subnet(small):
            wanted.append(model.head.loss(model.project(view), model.target_net(view)[0]))
    losses, own = model.loss(views(0)), plain.loss(views(0))
    torch.testing.assert_close(losses[f"loss_same_{small}"], 0.5 * 4 * torch.stack(wanted).mean(), rtol=1e-4, atol=1e-5)
    assert f"loss_same_{model.backbone.subnets[-1]}" not in losses
    largest = model.backbone.subnets[-1]
    assert torch.equal(losses[f"loss_{largest}"], own[f"loss_{largest}"])
    assert torch.equal(losses[f"loss_ssl_{small}"], own[f"loss_{small}"])
    logged = model.train_step(batch(0), OptimWrapper(SGD(model.parameters(), lr=0.1)))
    whole = losses[f"loss_ssl_{small}"] + losses[f"loss_same_{small}"]
    torch.testing.assert_close(logged[f"loss_{small}"], whole.detach())
    assert {f"loss_ssl_{small}", f"loss_same_{small}", f"std_{small}"} <= set(logged)
    with pytest.raises(ConfigError, match="same_view=-1 must be a weight"):
        build_slimmable("DSPNet", same_view=-1)
