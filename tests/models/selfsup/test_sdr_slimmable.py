"""SDR over slimmable paths: with one width it is SDR, with one path the sandwich of DSPNet."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from torch.optim import SGD

from mmssl_dynamic.engine import SubnetOptimWrapper
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.elastic import inactive_blocks
from mmssl_dynamic.models.sandwich_draws import draw_networks, loss_weights, lowest_width
from mmssl_dynamic.teachers import FrozenTeacher
from tests.helpers import HEAD, NECK, byol_parts, samples, views

GROUPS = (1, 1, 1, 4)
PATH = "0-0-0-2"
DRAWN = ("full", PATH, "0-0-0-0", PATH, "full", "0-0-0-3")


def build(kind="SDRSlimmable", backbone="SDRSlimmableResNet", neck=NECK, head=HEAD, network=None, **options):
    """A tiny model in training mode, the same one every time."""
    torch.manual_seed(0)
    parts = dict(
        type=f"mmssl_dynamic.{backbone}",
        depth=18,
        stage_channels=(16, 16, 32, 32),
        stage_groups=GROUPS,
        stem_channels=16,
        zero_init_residual=False,
    )
    model = MODELS.build(
        dict(
            type=f"mmssl_dynamic.{kind}",
            backbone={**parts, **(network or {})},
            neck=dict(type="mmssl_dynamic.ElasticProjector", **neck),
            head=head,
            **options,
        )
    )
    model.init_weights()
    return model.train()


def optimizer(model, kind=SubnetOptimWrapper):
    parameters = [p for p in model.parameters() if p.requires_grad]
    return kind(SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3))


def batch(seed, name):
    return {"inputs": views(seed), "data_samples": samples(name)}


def byol(**options):
    neck, head = byol_parts()
    return dict(neck=neck, head=head, **options)


@pytest.mark.parametrize("directions", ["both", "alternate"])
@pytest.mark.parametrize("method", ["", "BYOL"])
def test_with_one_width_every_step_is_sdrs_to_the_bit(method, directions):
    """Losses, weights, running statistics and what the optimiser remembers, over steps of W_0 and of paths."""
    options = {**(byol() if method else {}), "directions": directions}
    one = build(f"SDRSlimmable{method}", network=dict(widths=(1.0,)), **options)
    other = build(f"SDR{method}", "SDRResNet", **options)
    ours, theirs = optimizer(one), optimizer(other)
    for step, name in enumerate(DRAWN):
        if directions == "alternate":
            one.first_view = other.first_view = step % 2
        logged = [model.train_step(batch(step, name), wrapper) for model, wrapper in ((one, ours), (other, theirs))]
        assert logged[0].keys() == logged[1].keys()
        assert all(torch.equal(logged[0][key], logged[1][key]) for key in logged[0]), step
        if method:
            one.update_target(0.1)
            other.update_target(0.1)
    state = {key: value for key, value in one.state_dict().items() if not key.endswith("switches")}
    assert state.keys() == other.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in state.items())
    for mine, other_one in zip(ours.optimizer.state.values(), theirs.optimizer.state.values()):
        assert torch.equal(mine["momentum_buffer"], other_one["momentum_buffer"])


def gradients_of_a_step(model, data):
    kept = {}
    model.before_update = lambda: kept.update(
        {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    )
    model.train_step(data, optimizer(model, OptimWrapper))
    return kept


@pytest.mark.parametrize(("method", "sandwich"), [("", "SlimmableSimSiam"), ("BYOL", "DSPNet")])
def test_with_one_path_and_no_distillation_a_step_has_the_gradient_of_dspnets_sandwich(method, sandwich):
    """Over the same networks, drawn alike, from the same weights; both sum the losses, in another order."""
    widths, channels = (0.5, 0.75, 1.0), [[8, 8, 16, 16], [12, 12, 24, 24], [16, 16, 32, 32]]
    parts = byol() if method else {}
    one = build(
        f"SDRSlimmable{method}", network=dict(stage_groups=(1, 1, 1, 1), widths=widths), distillation=None, **parts
    )
    network = dict(type="mmssl_dynamic.SlimmableResNet", channels=channels, blocks=[[2, 2, 2, 2]])
    torch.manual_seed(1)
    other = MODELS.build(
        dict(
            type=f"mmssl_dynamic.{sandwich}",
            backbone=network,
            neck=dict(parts.get("neck", NECK), type="mmssl_dynamic.ElasticProjector"),
            head=parts.get("head", HEAD),
        )
    ).train()
    weights = {key: value for key, value in one.state_dict().items() if not key.endswith("switches")}
    assert all(key.endswith("switches") for key in other.load_state_dict(weights, strict=False).missing_keys)
    one.networks = ("0-0-0-0@w0.5", "0-0-0-0@w0.75", "full")
    other.networks = other.backbone.subnets
    ours = gradients_of_a_step(one, batch(0, "full"))
    theirs = gradients_of_a_step(other, {"inputs": views(0), "data_samples": None})
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        scale = float(gradient.abs().max()) + 1e-9
        torch.testing.assert_close(ours[name], gradient, rtol=0, atol=1e-5 * scale, msg=name)
    for name, buffer in one.named_buffers():  # running statistics of the full network, of both views in their order
        if "running" in name and "neck" not in name and "head" not in name:  # which all widths use in turn
            assert torch.equal(buffer, other.state_dict()[name]), name


def test_a_narrower_networks_loss_is_its_own_simsiam_loss_plus_siamkd_towards_the_full_network():
    model, name = build(), f"{PATH}@w0.5"
    model.networks = (name, PATH)
    inputs = views(0)
    losses = model.loss(inputs, samples(PATH))
    assert set(losses) == {f"{k}{w}" for k in ("loss_ssl", "loss_kd", "std") for w in ("", "@w0.5")}
    with model.backbone.subnet(name):
        z = [model.neck(model.backbone(v))[0] for v in inputs]
    assert z[0].shape == (8, 32)
    p = [model.head.predictor([x])[0] for x in z]
    t = [model.neck(model.backbone(v))[0].detach() for v in inputs]
    cosine = torch.nn.functional.cosine_similarity
    ssl = -0.5 * (cosine(p[0], z[1].detach()).mean() + cosine(p[1], z[0].detach()).mean())
    kd = -0.5 * (cosine(p[0], t[1]).mean() + cosine(p[1], t[0]).mean())
    torch.testing.assert_close(losses["loss_ssl@w0.5"], ssl)
    torch.testing.assert_close(losses["loss_kd@w0.5"], kd)


def test_by_default_a_step_trains_the_path_and_its_narrowest_network_and_w0_alone():
    model = build()
    assert list(model.step_networks(samples(PATH))) == [PATH, f"{PATH}@w0.25"]
    assert list(model.step_networks(samples("full"))) == ["full"]
    assert set(model.loss(views(0), samples("full"))) == {"loss_ssl", "std"}


def test_accumulated_gradients_are_those_of_the_summed_loss_and_other_paths_do_not_move():
    one, other = build(), build()
    for model in (one, other):
        model.networks = (f"{PATH}@w0.25", f"{PATH}@w0.5", PATH)
    sum(v for k, v in other.loss(views(0), samples(PATH)).items() if "loss" in k).backward()
    before = {name: p.clone() for name, p in one.named_parameters()}
    kept = {}
    one.before_update = lambda: kept.update({n: p.grad.clone() for n, p in one.named_parameters()})
    one.train_step(batch(0, PATH), optimizer(one))
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(kept[name], parameter.grad, msg=name)
    regions = one.regions_of(PATH)
    names = {parameter: name for name, parameter in one.named_parameters()}
    assert one.backbone.layer4[0].conv1.weight in regions
    for parameter, region in regions.items():
        for block in inactive_blocks(parameter, region):  # weight decay and momentum would move it
            assert torch.equal(parameter[block], before[names[parameter]][block])
    assert not torch.equal(one.backbone.conv1.weight, before["backbone.conv1.weight"])


@pytest.mark.parametrize("method", ["", "BYOL"])
def test_the_full_network_is_asked_once_per_view_for_all_widths(method):
    model = build(f"SDRSlimmable{method}", **(byol() if method else {}))
    model.networks = model.backbone.space.widths_of(PATH)
    teaching, seen = model.teaching_backbone, []
    teaching.register_forward_hook(lambda m, i, o: seen.append(m.active))
    model.train_step(batch(0, PATH), optimizer(model))
    assert seen.count("full") == 2
    # the target's projections of the path, or the online passes of the four widths themselves
    assert seen.count(PATH) == 2
    assert len(seen) == (4 if method else 2 + 2 * 4)
    statistics = model.backbone.bn1.running_mean
    assert torch.equal(statistics, torch.zeros_like(statistics))  # those of D_0 alone


def test_a_frozen_teacher_teaches_all_widths_and_is_shown_each_view_once():
    torch.manual_seed(7)
    teacher = FrozenTeacher(torch.nn.Conv2d(3, 6, 4, stride=4), mean=[0.0] * 3, std=[1.0] * 3)
    model = build(teacher=teacher, distillation=dict(type="mmssl_dynamic.FeatureDistillation", hid_channels=16))
    model.networks = (f"{PATH}@w0.25", f"{PATH}@w0.5", PATH)
    seen = []
    teacher.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    logged = model.train_step(batch(0, PATH), optimizer(model))
    assert {"loss_kd", "loss_kd@w0.25", "loss_kd@w0.5"} <= set(logged)
    assert len(seen) == 2
    assert not torch.equal(*seen)


def test_losses_of_widths_have_weights_that_are_those_of_their_path():
    one, other = build(), build()
    names = one.networks = other.networks = one.backbone.space.widths_of(PATH)
    other.loss_weights = loss_weights(other.backbone.space.of_path(PATH), names, "width")
    assert [round(weight, 6) for weight in other.loss_weights.values()] == [0.4, 0.8, 1.2, 1.6]
    plain, weighted = (model.loss(views(0), samples(PATH)) for model in (one, other))
    for width, weight in (("@w0.25", 0.4), ("", 1.6)):
        torch.testing.assert_close(weighted[f"loss_kd{width}"], weight * plain[f"loss_kd{width}"])
        assert torch.equal(weighted[f"std{width}"], plain[f"std{width}"])
    w0 = other.backbone.space.of_path("full")
    assert loss_weights(w0, draw_networks(w0.names, 1, seed=0, step=3), "largest") == {"full": 1.0}
    assert lowest_width(w0, 0.5) == 1.0


def test_networks_of_another_path_than_the_batchs_are_refused():
    model = build()
    model.networks = ("0-0-0-1@w0.25", "0-0-0-1")
    with pytest.raises(ConfigError, match="SandwichHook"):
        model.train_step(batch(0, PATH), optimizer(model))


def test_a_backbone_of_one_width_is_refused():
    with pytest.raises(ConfigError, match="SDRSlimmableResNet"):
        build(backbone="SDRResNet")
