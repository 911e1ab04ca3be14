"""SDR on BYOL: phase 0 is BYOL, and a sub-network predicts the same sub-network and the full network of the target."""

import pytest
import torch
from mmpretrain.registry import MODELS
from torch.optim import SGD

from mmssl_dynamic.engine.hooks.target_ema_hook import half_cosine
from mmssl_dynamic.subnets import FULL
from tests.helpers import WIDTHS, build_sdr, byol_parts, byol_target, online_and_head, samples, views

OPTIONS = dict(lr=0.05, momentum=0.9, weight_decay=1e-4)
PATH = "0-3-1-2"


def build():
    neck, head = byol_parts()
    return build_sdr(kind="SDRBYOL", neck=neck, head=head, distillation=dict(type="mmssl_dynamic.SiamKD", weight=4.0))


def test_the_full_network_alone_equals_mmpretrains_byol_with_the_target_moved_after_the_step_for_20_steps():
    ours = build().double()  # the moving averages round differently, which grows from step to step
    neck, head = byol_parts()
    byol = MODELS.build(
        dict(
            type="BYOL",
            base_momentum=0.01,
            backbone=dict(type="mmssl_dynamic.StaticResNet", depth=18, stage_channels=WIDTHS, stem_channels=8),
            neck=dict(neck, type="NonLinearNeck", in_channels=32),
            head=head,
        )
    ).train()
    byol.double()
    state = {k: v for k, v in ours.state_dict().items() if not k.startswith("target_net")}
    byol.load_state_dict(state, strict=False)
    move = byol_target(byol, steps=20)
    mine = SGD([p for p in ours.parameters() if p.requires_grad], **OPTIONS)
    theirs = SGD(online_and_head(byol), **OPTIONS)
    losses = []
    for step in range(20):
        mine.zero_grad(), theirs.zero_grad()
        inputs = [view.double() for view in views(step)]
        loss = ours.loss(inputs, samples(FULL))["loss_ssl"]
        reference = byol.loss(inputs, None)["loss"]
        assert float(loss.detach()) == pytest.approx(float(reference.detach()), rel=1e-6), step
        loss.backward(), reference.backward()
        mine.step(), theirs.step()
        ours.update_target(0.01 * half_cosine(step + 1, 20))
        move()
        losses.append(float(loss.detach()))
    assert len(set(losses)) == 20
    for name, value in byol.backbone.state_dict().items():
        torch.testing.assert_close(ours.backbone.state_dict()[name], value, rtol=1e-6, atol=1e-6, msg=name)


def test_a_subnet_predicts_the_same_subnet_and_the_full_network_of_the_target():
    sdr = build()
    with torch.no_grad():  # a target that is no copy of the online network
        for parameter in sdr.target_net.parameters():
            parameter.mul_(1.1)
    inputs = views(0)
    losses = sdr.loss(inputs, samples(PATH))
    target = sdr.target_net
    with sdr.backbone.subnet(PATH):
        p = [sdr.head.predictor(sdr.neck(sdr.backbone(v)))[0] for v in inputs]
    with torch.no_grad(), target[0].subnet(PATH):
        own = [target(v)[0] for v in inputs]
    with torch.no_grad():
        full = [target(v)[0] for v in inputs]
    cosine = torch.nn.functional.cosine_similarity

    def both(targets):
        return cosine(p[0], targets[1]).mean() + cosine(p[1], targets[0]).mean()

    torch.testing.assert_close(losses["loss_ssl"], 4 - 2 * both(own))
    torch.testing.assert_close(losses["loss_kd"], -2 * both(full))
    assert not torch.allclose(own[0], full[0])


def test_only_the_online_subnet_gets_gradients_and_the_average_is_of_everything():
    sdr = build()
    losses = sdr.loss(views(0), samples(PATH))
    (losses["loss_ssl"] + losses["loss_kd"]).backward()
    assert all(p.grad is None for p in sdr.target_net.parameters())
    touched = sum(int(torch.count_nonzero(p.grad)) for p in sdr.backbone.parameters() if p.grad is not None)
    assert 0 < touched <= sdr.backbone.num_parameters(PATH)
    before = [p.clone() for p in sdr.target_net.parameters()]
    with torch.no_grad():
        for parameter in (*sdr.backbone.parameters(), *sdr.neck.parameters()):
            parameter.add_(1.0)
    sdr.update_target(0.25)
    for old, new in zip(before, sdr.target_net.parameters()):
        torch.testing.assert_close(new, old + 0.25)


def test_images_of_a_cluster_leave_the_targets_statistics_alone():
    sdr = build()
    kept = {k: v.clone() for k, v in sdr.target_net[0].state_dict().items()}
    sdr.loss(views(0), samples(PATH))
    assert all(torch.equal(v, kept[k]) for k, v in sdr.target_net[0].state_dict().items())
    sdr.loss(views(0), samples(FULL))
    assert not torch.equal(sdr.target_net[0].bn1.running_mean, kept["bn1.running_mean"])
