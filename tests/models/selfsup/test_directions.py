"""One direction a step: the loss of both in expectation, with fewer passes; and a stem that is run once."""

from contextlib import nullcontext

import pytest
import torch

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.selfsup import sdr as sdr_module
from mmssl_dynamic.models.selfsup.directions import draw_first_view
from mmssl_dynamic.subnets import FULL
from tests.helpers import MOCO_HEAD, MOCO_NECK, build_sdr, build_slimmable, byol_parts, samples, views

PATH = "0-3-1-2"
L2 = dict(type="mmssl_dynamic.L2Distillation")


def build(kind, directions, **options):
    if kind in ("DSPNet", "SlimmableSimSiam"):
        model = build_slimmable(kind, directions=directions, **options)
        model.networks = model.backbone.subnets
        return model
    if kind == "SDRBYOL":
        neck, head = byol_parts()
        options = {"neck": neck, "head": head, **options}
    return build_sdr(kind=kind, directions=directions, **options)


def moved(model):
    """With a target that is no copy of the online network."""
    if hasattr(model, "target_net"):
        with torch.no_grad():
            for parameter in model.target_net.parameters():
                parameter.mul_(1.1)
    return model


def loss_of(model, batch, first_view=None):
    """Sum of the losses and the gradients."""
    model.first_view = first_view
    model.zero_grad()
    total = sum(value for key, value in model.loss(views(0), batch).items() if "loss" in key)
    total.backward()
    return total.detach(), [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("SDR", FULL, {}),
        ("SDR", PATH, {}),
        ("SDR", PATH, {"distillation": L2}),
        ("SDRBYOL", FULL, {}),
        ("SDRBYOL", PATH, {}),
        ("DSPNet", None, {}),
        ("DSPNet", None, {"target_bn": "momentum"}),
        ("DSPNet", None, {"directions": "both_of_largest"}),
        ("SlimmableSimSiam", None, {}),
    ],
)
def test_the_mean_over_both_draws_is_the_symmetrised_loss_and_so_is_its_gradient(kind, name, options):
    options = dict(options)
    directions = options.pop("directions", "alternate")
    batch = None if name is None else samples(name)
    wanted, gradients = loss_of(moved(build(kind, "both", **options)), batch)
    model = moved(build(kind, directions, **options))
    (one, of_one), (other, of_other) = loss_of(model, batch, 0), loss_of(model, batch, 1)
    assert not torch.equal(one, other)
    torch.testing.assert_close((one + other) / 2, wanted)
    for first, second, both in zip(of_one, of_other, gradients):
        torch.testing.assert_close((first + second) / 2, both, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "name", "both", "alternate"),
    [
        # Passes with gradients and without, of online network, target and teacher together.
        ("SDR", FULL, (2, 0), (1, 1)),
        ("SDR", PATH, (2, 2), (1, 2)),
        ("SDRBYOL", FULL, (2, 2), (1, 1)),
        ("SDRBYOL", PATH, (2, 4), (1, 2)),
        ("DSPNet", None, (12, 2), (6, 1)),
        ("SlimmableSimSiam", None, (12, 0), (6, 6)),
    ],
)
def test_one_direction_leaves_out_the_passes_that_it_does_not_need(kind, name, both, alternate):
    for directions, wanted in (("both", both), ("alternate", alternate)):
        model, passes = build(kind, directions), {True: 0, False: 0}
        model.first_view = 1

        def count(*_, passes=passes):
            passes[torch.is_grad_enabled()] += 1

        for net in (model.backbone, *([model.target_net[0]] if hasattr(model, "target_net") else [])):
            net.register_forward_pre_hook(count)
        model.loss(views(0), None if name is None else samples(name))
        assert (passes[True], passes[False]) == wanted, directions


def test_both_directions_of_the_largest_network_alone():
    one, wanted = build("DSPNet", "both_of_largest"), build("DSPNet", "both").loss(views(0))
    one.first_view = 0
    found, largest = one.loss(views(0)), one.backbone.subnets[-1]
    assert torch.equal(found[f"loss_{largest}"], wanted[f"loss_{largest}"])
    assert not torch.equal(found[f"loss_{one.backbone.subnets[0]}"], wanted[f"loss_{one.backbone.subnets[0]}"])


def test_a_direction_is_drawn_by_seed_and_step_alone():
    draws = [draw_first_view(3, step) for step in range(400)]
    assert draws == [draw_first_view(3, step) for step in range(400)]
    assert draws != [draw_first_view(4, step) for step in range(400)]
    assert 160 < sum(draws) < 240
    assert set(draws) == {0, 1}


def test_directions_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="directions='one' must be one of both, alternate"):
        build("SDR", "one")
    with pytest.raises(ConfigError, match="must be one of both, alternate, both_of_largest"):
        build("DSPNet", "one")
    with pytest.raises(ConfigError, match="must be one of both\\."):
        build("SDRMoCo", "alternate", neck=MOCO_NECK, head=MOCO_HEAD)
    with pytest.raises(ConfigError, match="needs dict.type='mmssl_dynamic.DirectionHook'. in custom_hooks"):
        build("SDR", "alternate").loss(views(0), samples(FULL))


@pytest.mark.parametrize(("kind", "stems"), [("SDR", (4, 2)), ("SDRBYOL", (6, 4))])
@pytest.mark.parametrize("directions", ["both", "alternate"])
def test_a_shared_stem_changes_no_bit_of_loss_gradients_and_statistics(kind, stems, directions, monkeypatch):
    found = []
    for shared in (False, True):
        with monkeypatch.context() as patch:
            if not shared:
                patch.setattr(sdr_module, "_shared_stem", lambda backbone: nullcontext())
            model, runs = moved(build(kind, directions)), []
            for net in (model.backbone, *([model.target_net[0]] if kind == "SDRBYOL" else [])):
                net.conv1.register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
            losses = [loss_of(model, samples(name), 0) for name in (PATH, FULL, PATH)]
            found.append((losses, model.state_dict()))
            if directions == "both":
                model.loss(views(1), samples(PATH))
                before = len(runs)
                model.loss(views(1), samples(PATH))
                assert len(runs) - before == stems[shared]
    (losses, state), (shared_losses, shared_state) = found
    for (loss, gradients), (other, others) in zip(losses, shared_losses):
        assert torch.equal(loss, other)
        assert all(torch.equal(a, b) for a, b in zip(gradients, others))
    assert all(torch.equal(value, shared_state[key]) for key, value in state.items())


def test_a_stem_is_shared_inside_of_the_block_only():
    net = build_sdr().backbone
    (images, _) = views(0)
    runs = []
    net.conv1.register_forward_pre_hook(lambda *_: runs.append(1))
    with torch.no_grad(), net.shared_stem():
        for name in (PATH, "1-1-1-1"):
            with net.subnet(name):
                net(images)
        assert len(runs) == 1
        with net.subnet(PATH):
            net(images.clone())  # other images, as far as anyone can say
        assert len(runs) == 2
    with torch.no_grad(), net.subnet(PATH):
        net(images)
    assert len(runs) == 3
