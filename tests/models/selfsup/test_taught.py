"""A frozen teacher in SDR, in DSPNet and by itself: what is compared with what, and what it costs."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from torch import nn
from torch.optim import SGD

from mmssl_dynamic.engine import SubnetOptimWrapper
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.elastic import Channels, PerNetworkLinear, Selection, select
from mmssl_dynamic.subnets import FULL
from mmssl_dynamic.teachers import FrozenTeacher
from tests.helpers import MOCO_HEAD, MOCO_NECK, build_sdr, build_slimmable, byol_parts, samples, views

PATH = "0-3-1-2"
DISTILLATION = dict(type="mmssl_dynamic.FeatureDistillation", hid_channels=16)


def frozen(features=6):
    torch.manual_seed(7)
    return FrozenTeacher(nn.Conv2d(3, features, 4, stride=4), mean=[0.0] * 3, std=[1.0] * 3)


def build_distilled(channels=((8, 8, 16, 16), (16, 16, 32, 32)), head="shared", **options):
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="mmssl_dynamic.SlimmableDistillation",
            backbone=dict(
                type="mmssl_dynamic.SlimmableResNet",
                channels=[list(c) for c in channels],
                blocks=[[1, 1, 1, 1]],
                zero_init_residual=False,
            ),
            teacher=frozen(),
            distillation=dict(DISTILLATION, head=head, **options),
        )
    )
    return model.train()


def passes_of(teacher):
    """The views that it is shown from now on."""
    seen = []
    teacher.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    return seen


@pytest.mark.parametrize("head", ["shared", "per_network"])
def test_distillation_of_one_network_is_the_cosine_to_the_teachers_features(head):
    model = build_distilled(channels=((8, 8, 16, 16),), head=head)
    (view, _) = views(0)
    found = model.loss(view)[f"loss_{model.backbone.space.largest}"]
    pooled = model.backbone(view)[-1].mean((2, 3))
    layers = model.neck.head
    if head == "shared":
        hidden = F.relu(layers.bn0(F.linear(pooled, layers.fc0.weight, layers.fc0.bias)))
        predicted = F.linear(hidden, layers.fc1.weight, layers.fc1.bias)
    else:
        predicted = F.linear(pooled, layers.weight[0], layers.bias[0])
    # The student's preprocessor does nothing and gives BGR; the teacher takes RGB.
    taught = model.frozen_teacher.network(view.flip(1)).mean((2, 3))
    torch.testing.assert_close(found, 1 - F.cosine_similarity(predicted, taught).mean(), rtol=1e-4, atol=1e-5)


def test_the_teacher_runs_once_a_step_for_all_networks_and_gradients_are_those_of_the_sum():
    one, other = build_distilled(), build_distilled()
    (view, _) = views(0)
    (loss, _) = other.parse_losses({k: v for k, v in other.loss(view).items() if "std" not in k})
    loss.backward()
    kept, seen = {}, passes_of(one.frozen_teacher)
    one.before_update = lambda: kept.update({n: p.grad.clone() for n, p in one.named_parameters()})
    one.train_step(dict(inputs=view, data_samples=None), OptimWrapper(SGD(one.parameters(), lr=0.1)))
    assert len(seen) == 1
    assert len(kept) == len(list(other.parameters()))
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(kept[name], parameter.grad, msg=name)


def test_a_head_of_each_network_is_trained_by_it_alone():
    model = build_distilled(head="per_network")
    narrow, wide = model.backbone.subnets
    model.networks = (narrow,)
    sum(v for k, v in model.loss(views(0)[0]).items() if "loss" in k).backward()
    gradient = model.neck.head.weight.grad
    assert gradient[0, :, :16].abs().min() > 0
    assert not gradient[0, :, 16:].any()  # channels that the narrow one lacks
    assert not gradient[1].any()
    assert wide == model.backbone.space.largest


def test_a_linear_layer_of_a_network_is_torchs_of_its_channels():
    channels = Channels(6)
    layer = PerNetworkLinear(channels, 3, ("small", FULL))
    x = torch.randn(4, 2)
    with select(channels.subnet, "small", [(channels, Selection(6, ((0, 2),)))]):
        found = layer(x)
    torch.testing.assert_close(found, F.linear(x, layer.weight[0, :, :2], layer.bias[0]))


@pytest.mark.parametrize(("view", "shown"), [("same", [0, 1]), ("other", [1, 0])])
def test_dspnet_compares_each_view_with_the_teachers_same_or_other_one(view, shown):
    model = build_slimmable("DSPNet", teacher=frozen(), distillation=dict(DISTILLATION, view=view))
    seen, batch = passes_of(model.frozen_teacher), views(0)
    name = model.backbone.subnets[0]
    model.networks = (name,)
    losses = model.loss(batch)
    assert [next(i for i in range(2) if torch.equal(x, batch[i])) for x in seen] == shown
    with model.backbone.subnet(name), torch.no_grad():
        predicted = model.distillation.predictions([model.backbone(v)[-1] for v in batch])
    taught = [model.frozen_teacher(batch[i]) for i in shown]
    wanted = torch.stack([1 - F.cosine_similarity(p, t).mean() for p, t in zip(predicted, taught)]).mean()
    torch.testing.assert_close(losses[f"loss_teacher_{name}"], 4 * wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["DSPNet", "SlimmableSimSiam"])
def test_beside_a_teacher_the_methods_own_loss_is_what_it_is_without(kind):
    alone = build_slimmable(kind)
    torch.manual_seed(0)
    taught = build_slimmable(kind, teacher=frozen(), distillation=DISTILLATION)
    taught.load_state_dict(alone.state_dict(), strict=False)
    one, other = alone.loss(views(0)), taught.loss(views(0))
    for name in alone.step_networks():
        assert torch.equal(other[f"loss_ssl_{name}"], one[f"loss_{name}"])
        assert torch.equal(other[f"std_{name}"], one[f"std_{name}"])
        assert 0 < float(other[f"loss_teacher_{name}"].detach()) < 8


def test_one_direction_shows_the_teacher_one_view():
    model = build_slimmable("DSPNet", directions="alternate", teacher=frozen(), distillation=DISTILLATION)
    model.first_view, seen, batch = 1, passes_of(model.frozen_teacher), views(0)
    model.loss(batch)
    assert len(seen) == 1
    assert torch.equal(seen[0], batch[1])


@pytest.mark.parametrize(
    ("kind", "parts", "views_shown"),
    [
        ("SDR", {}, 2),
        ("SDRBYOL", dict(zip(("neck", "head"), byol_parts())), 2),
        ("SDRMoCo", dict(neck=MOCO_NECK, head=MOCO_HEAD, queue_len=16), 1),
    ],
)
@pytest.mark.parametrize("name", [PATH, FULL])
def test_sdr_learns_from_the_teacher_in_place_of_its_full_network(kind, parts, views_shown, name):
    model = build_sdr(kind=kind, teacher=frozen(), distillation=DISTILLATION, **parts)
    seen, networks = passes_of(model.frozen_teacher), []
    model.backbone.register_forward_pre_hook(lambda module, inputs: networks.append(module.active))
    losses = model.loss(views(0), samples(name))
    assert networks == [name] * views_shown  # W_0 runs for itself alone
    assert len(seen) == views_shown
    assert 0 < float(losses["loss_kd"].detach()) < 2
    losses["loss_kd"].backward()
    assert model.backbone.conv1.weight.grad.abs().sum() > 0


def test_a_step_of_sdr_moves_the_teachers_head_where_its_path_reads():
    model = build_sdr(teacher=frozen(), distillation=DISTILLATION)
    wrapper = SubnetOptimWrapper(SGD(model.parameters(), lr=0.1, weight_decay=0.1))
    weight = model.distillation.head.fc0.weight
    before = weight.detach().clone()
    with wrapper.optim_context(model):
        losses = model.loss(views(0), samples(PATH))
    wrapper.update_params(sum(v for k, v in losses.items() if "loss" in k))
    moved = (weight.detach() != before).any(0)
    region = model.regions_of(PATH)[weight][1]
    wanted = torch.zeros_like(moved)
    for start, stop in region.ranges:
        wanted[start:stop] = True
    assert torch.equal(moved, wanted)
    assert 0 < int(wanted.sum()) < len(wanted)


def test_teacher_and_distillation_go_together():
    with pytest.raises(ConfigError, match="SDR has a frozen teacher, .* give distillation=dict"):
        build_sdr(teacher=frozen())
    with pytest.raises(ConfigError, match="DSPNet has distillation of type FeatureDistillation and no teacher"):
        build_slimmable("DSPNet", distillation=DISTILLATION)
    for option, message in (
        ({"head": "own"}, "distillation.head='own'"),
        ({"view": "both"}, "distillation.view='both'"),
    ):
        with pytest.raises(ConfigError, match=message):
            build_slimmable("DSPNet", teacher=frozen(), distillation=dict(DISTILLATION, **option))
