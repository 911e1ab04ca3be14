import math

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models import L2Distillation, SiamKD
from mmssl_dynamic.models.selfsup import batch_subnet, collapse_std
from mmssl_dynamic.subnets import FULL
from tests.helpers import HEAD, NECK, WIDTHS, build_sdr, samples, views


def test_full_network_alone_equals_mmpretrains_simsiam_loss_by_loss_for_20_steps():
    """Phase 0 of SDR is SimSiam on the same wide network."""
    from torch.optim import SGD

    sdr = build_sdr()
    simsiam = MODELS.build(
        dict(
            type="SimSiam",
            backbone=dict(type="mmssl_dynamic.StaticResNet", depth=18, stage_channels=WIDTHS, stem_channels=8),
            neck=dict(type="NonLinearNeck", in_channels=32, **NECK),
            head=HEAD,
        )
    ).train()
    simsiam.load_state_dict(sdr.state_dict(), strict=True)
    options = dict(lr=0.05, momentum=0.9, weight_decay=1e-4)
    ours, theirs = SGD(sdr.parameters(), **options), SGD(simsiam.parameters(), **options)
    losses = []
    for step in range(20):
        inputs = views(step)
        ours.zero_grad(), theirs.zero_grad()
        mine = sdr.loss(inputs, samples(FULL))["loss_ssl"]
        reference = simsiam.loss(inputs, samples(FULL))["loss"]
        assert float(mine) == float(reference), f"step {step}"
        mine.backward(), reference.backward()
        ours.step(), theirs.step()
        losses.append(float(mine))
    assert len(set(losses)) == 20  # it did train
    for name, value in simsiam.state_dict().items():
        torch.testing.assert_close(sdr.state_dict()[name], value, msg=name)


def test_a_subnets_loss_is_its_own_simsiam_loss_plus_siamkd_towards_the_full_network():
    sdr = build_sdr()
    inputs = views(0)
    losses = sdr.loss(inputs, samples("0-3-1-2"))
    with sdr.backbone.subnet("0-3-1-2"):
        z = [sdr.neck(sdr.backbone(v))[0] for v in inputs]
    p = [sdr.head.predictor([x])[0] for x in z]
    t = [sdr.neck(sdr.backbone(v))[0].detach() for v in inputs]
    cosine = torch.nn.functional.cosine_similarity
    ssl = -0.5 * (cosine(p[0], z[1].detach()).mean() + cosine(p[1], z[0].detach()).mean())
    kd = -0.5 * (cosine(p[0], t[1]).mean() + cosine(p[1], t[0]).mean())
    torch.testing.assert_close(losses["loss_ssl"], ssl)
    torch.testing.assert_close(losses["loss_kd"], kd)


def test_distillation_reaches_only_the_subnet():
    """The stop-gradient on W_0: with L_SSL switched off, groups outside the path get no gradient."""
    sdr = build_sdr()
    losses = sdr.loss(views(0), samples("0-3-1-2"))
    losses["loss_kd"].backward()
    with sdr.backbone.subnet("0-3-1-2"):
        twin_size = sdr.backbone.num_parameters("0-3-1-2")
    touched = sum(int(torch.count_nonzero(p.grad)) for p in sdr.backbone.parameters() if p.grad is not None)
    assert 0 < touched <= twin_size


def test_the_teachers_forward_pass_leaves_the_full_networks_statistics_alone():
    sdr = build_sdr()
    before = {k: v.clone() for k, v in sdr.backbone.state_dict().items()}
    sdr.loss(views(0), samples("0-0-0-0"))
    assert all(torch.equal(v, before[k]) for k, v in sdr.backbone.state_dict().items())
    sdr.loss(views(0), samples(FULL))
    assert not torch.equal(sdr.backbone.bn1.running_mean, before["bn1.running_mean"])


@pytest.mark.parametrize(
    ("distillation", "has_kd"),
    [(None, False), (dict(type="mmssl_dynamic.L2Distillation"), True), (dict(type="mmssl_dynamic.SiamKD"), True)],
)
def test_distillation_is_a_config_value(distillation, has_kd):
    sdr = build_sdr(distillation=distillation)
    assert ("loss_kd" in sdr.loss(views(0), samples("0-0-0-1"))) == has_kd
    assert "loss_kd" not in sdr.loss(views(0), samples(FULL))


def test_distillation_losses_have_their_extremes_where_they_should():
    z = torch.randn(4, 8)
    same, opposite = (z, z), (-z, -z)
    assert float(SiamKD()(same, same, same)) == pytest.approx(-1)
    assert float(SiamKD(weight=2)(opposite, same, same)) == pytest.approx(2)
    assert float(L2Distillation()(same, same, (3 * z, z))) == pytest.approx(0, abs=1e-6)
    assert float(L2Distillation()(same, same, opposite)) == pytest.approx(4)
    # Eq. 4 crosses the views, the L2 variant does not.
    a, b = torch.eye(2)[[0]], torch.eye(2)[[1]]
    assert float(SiamKD()((a, b), (a, b), (b, a))) == pytest.approx(-1)
    assert float(L2Distillation()((a, b), (a, b), (a, b))) == pytest.approx(0)


def test_trained_regions_are_those_of_the_last_loss():
    sdr = build_sdr()
    sdr.loss(views(0), samples(FULL))
    assert sdr.trained_regions() == {}
    sdr.loss(views(0), samples("3-0-0-0"))
    regions = sdr.trained_regions()
    assert sdr.neck.fc0.weight in regions  # the projector reads the selected channels
    assert sdr.backbone.conv1.weight not in regions  # the stem is not split
    assert regions[sdr.backbone.layer1[0].conv1.weight][0].ranges == ((0, 8), (14, 16))


@pytest.mark.parametrize("names", [[None, None], ["0-0-0-0", FULL], ["0-0-0-0", None]])
def test_a_batch_without_one_subnet_is_an_error(names):
    batch = [DataSample() for _ in names]
    for sample, name in zip(batch, names):
        if name is not None:
            sample.set_field(name, "subnet", field_type="metainfo")
    with pytest.raises(ConfigError, match="SubnetBatchSampler"):
        batch_subnet(batch)


def test_a_backbone_that_is_no_super_network_is_refused():
    with pytest.raises(ConfigError, match="super-network"):
        MODELS.build(dict(type="mmssl_dynamic.SDR", backbone=dict(type="ResNet", depth=18), neck={}, head=HEAD))


def test_collapse_std_is_healthy_for_noise_and_zero_for_a_constant():
    noise = torch.randn(4096, 64, generator=torch.Generator().manual_seed(0))
    assert float(collapse_std(noise)) == pytest.approx(1 / math.sqrt(64), rel=0.02)
    assert float(collapse_std(torch.ones(16, 64))) == pytest.approx(0, abs=1e-6)
